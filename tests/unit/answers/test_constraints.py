"""Constraints of an answer: what follows from them."""

from __future__ import annotations

import pytest

from app.answers.constraints import AnswerConstraints


@pytest.mark.parametrize(
    ("constraints", "may_cut"),
    [
        (AnswerConstraints(), False),
        (AnswerConstraints(stops=("END",)), True),
        (AnswerConstraints(max_tokens=16), True),
        (AnswerConstraints(offers_tools=True, requires_tool=True), False),
    ],
    ids=str,
)
def test_a_stop_sequence_or_a_limit_may_cut_the_answer_at_any_piece(
    constraints: AnswerConstraints, may_cut: bool
) -> None:
    assert constraints.may_cut is may_cut
