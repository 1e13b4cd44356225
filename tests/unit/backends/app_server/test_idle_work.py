"""Work of a child that has nothing to do: three checks in a row, and nothing less."""

import pytest

from app.backends.app_server.idle_work import IdleWork, Work

IDLE, BUSY = 0.01, 0.9


def verdicts(*checks: Work) -> list[bool]:
    watch = IdleWork()
    return [watch.is_runaway(work, float(second)) for second, work in enumerate(checks)]


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([Work(BUSY * n) for n in range(5)], [False, False, False, True, True]),
        ([Work(IDLE * n) for n in range(5)], [False] * 5),
        ([Work() for _ in range(5)], [False] * 5),  # the system does not say
        ([Work(BUSY * n, running=1) for n in range(5)], [False] * 5),
        ([Work(BUSY * n, begun=n) for n in range(5)], [False] * 5),  # a turn came and went
        (
            [Work(0), Work(BUSY), Work(2 * BUSY), Work(2 * BUSY), Work(3 * BUSY), Work(4 * BUSY)],
            [False] * 6,
        ),
        (
            [Work(0), Work(1, running=1), Work(2), Work(3), Work(4), Work(5)],
            [False, False, False, False, False, True],
        ),
    ],
)
def test_only_a_child_that_works_on_without_a_turn_is_a_runaway(
    checks: list[Work], expected: list[bool]
) -> None:
    assert verdicts(*checks) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Work(0), Work(0), False),  # stopped, or deadlocked
        (Work(0), Work(BUSY), False),  # it runs in circles: nobody gave it so much to do
        (Work(0, is_heavy=True), Work(BUSY), True),
        (Work(0), Work(BUSY, is_heavy=True), True),
        (Work(0, is_heavy=True), Work(IDLE, is_heavy=True), False),
        (Work(0), Work(0, waited_s=BUSY), True),  # others have the processors
        (Work(0, waited_s=5), Work(0, waited_s=5 + IDLE), False),
        (Work(is_heavy=True), Work(is_heavy=True), False),  # the system does not say
    ],
)
def test_silence_has_a_reason_where_work_or_the_want_of_a_processor_is_seen(
    before: Work, after: Work, *, expected: bool
) -> None:
    assert after.is_silent_for_a_reason(before, 1.0) is expected
