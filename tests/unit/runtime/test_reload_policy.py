import pytest

from app.runtime.reload_policy import (
    MAX_BOOT_FAILURES,
    Check,
    ExitAction,
    Situation,
    Step,
    WorkerExit,
    next_step,
    on_worker_exit,
)

STEPS: list[tuple[Situation, Step]] = [
    (Situation(False), Step.NOTHING),
    (Situation(False, has_successor=True, retiring=2), Step.NOTHING),
    (Situation(True), Step.CHECK),
    (Situation(True, retiring=1), Step.CHECK),
    (Situation(True, Check.RUNNING), Step.NOTHING),
    (Situation(True, Check.RUNNING, retiring=2), Step.NOTHING),
    (Situation(True, Check.PASSED), Step.FORK),
    (Situation(True, Check.PASSED, retiring=1), Step.FORK),
    # Three are alive: the one that serves, and two that retire.
    (Situation(True, retiring=2), Step.QUEUE),
    (Situation(True, retiring=3), Step.QUEUE),
    (Situation(True, Check.PASSED, retiring=2), Step.QUEUE),
    # A successor that is not ready is replaced, so it takes no room.
    (Situation(True, has_successor=True), Step.CHECK),
    (Situation(True, has_successor=True, retiring=1), Step.CHECK),
    (Situation(True, Check.PASSED, has_successor=True, retiring=1), Step.DISMISS),
    (Situation(True, Check.PASSED, has_successor=True, is_dismissed=True), Step.NOTHING),
]


@pytest.mark.parametrize(("situation", "step"), STEPS)
def test_what_a_hup_needs_next(situation: Situation, step: Step) -> None:
    assert next_step(situation) is step


def worker_exit(**changes: object) -> WorkerExit:
    usual = {
        "was_needed": True,
        "failed_to_boot": True,
        "boot_failures": 1,
        "alive": 1,
        "ever_booted": True,
    }
    return WorkerExit(**(usual | changes))  # type: ignore[arg-type]


EXITS: list[tuple[str, WorkerExit, ExitAction]] = [
    ("a retired one", worker_exit(was_needed=False), ExitAction.NOTHING),
    ("killed", worker_exit(failed_to_boot=False, boot_failures=0), ExitAction.RETRY),
    (
        "killed, the only one",
        worker_exit(failed_to_boot=False, boot_failures=0, alive=0),
        ExitAction.RETRY,
    ),
    ("failed to boot", worker_exit(), ExitAction.RETRY),
    ("failed to boot, nobody left", worker_exit(alive=0), ExitAction.RETRY),
    ("again and again", worker_exit(boot_failures=MAX_BOOT_FAILURES), ExitAction.GIVE_UP),
    (
        "again and again, nobody left",
        worker_exit(boot_failures=MAX_BOOT_FAILURES, alive=0),
        ExitAction.HALT,
    ),
    ("the very first", worker_exit(alive=0, ever_booted=False), ExitAction.HALT),
]


@pytest.mark.parametrize(("exited", "action"), [row[1:] for row in EXITS])
def test_what_an_exit_means(exited: WorkerExit, action: ExitAction) -> None:
    assert on_worker_exit(exited) is action
