"""Usage that nobody has checked: whatever the upstream counts, what is passed on can be true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backend.events import MAX_TOKENS, NO_USAGE, Usage

ANY = st.integers(-(2**63), 2**63)


@pytest.mark.parametrize(
    ("counted", "bounded"),
    [
        (Usage(-5, -1, -7, -2, -12, -3), NO_USAGE),
        (Usage(10, 20, 3, 9, 13, 30), Usage(10, 10, 3, 3, 13, 10)),
        (Usage(10, 0, 3, 0, 5), Usage(10, 0, 3, 0, 13)),
        (
            Usage(2**60, 0, 2, 0, 2**60),
            Usage(MAX_TOKENS, 0, 2, 0, MAX_TOKENS + 2),
        ),
    ],
)
def test_figures_that_cannot_be_true_become_the_nearest_that_can(
    counted: Usage, bounded: Usage
) -> None:
    assert counted.bounded() == bounded
    assert bounded.bounded() is bounded


def test_figures_that_can_be_true_are_left_alone() -> None:
    usage = Usage(100, 40, 7, 5, 107, 60)
    assert usage.bounded() is usage


@given(st.builds(Usage, ANY, ANY, ANY, ANY, ANY, ANY))
def test_any_figures_become_some_that_can_be_true(usage: Usage) -> None:
    bounded = usage.bounded()
    assert 0 <= max(bounded.cached_input, bounded.cache_write_input) <= bounded.input <= MAX_TOKENS
    assert 0 <= bounded.reasoning_output <= bounded.output <= MAX_TOKENS
    assert bounded.input + bounded.output <= bounded.total <= 2 * MAX_TOKENS


def test_usages_add_up_and_subtract_in_every_figure() -> None:
    one, two = Usage(1, 2, 3, 4, 5, 6), Usage(10, 20, 30, 40, 50, 60)
    assert one + two == Usage(11, 22, 33, 44, 55, 66)
    assert two - one == Usage(9, 18, 27, 36, 45, 54)
