import pytest

from app.runtime.shutdown import GracePeriods, ShutdownPlan, Stage, plan_shutdown

GRACE = GracePeriods(stop_s=10.0, reload_s=1800.0)

ROWS: list[tuple[str, dict[str, float | None], ShutdownPlan | None]] = [
    ("nobody told it", {}, None),
    ("retired", {"retired_at": 100.0}, ShutdownPlan(1900.0, is_stop=False)),
    ("stopped", {"stopped_at": 100.0}, ShutdownPlan(110.0, is_stop=True)),
    (
        "stopped while retiring",
        {"retired_at": 50.0, "stopped_at": 100.0},
        ShutdownPlan(110.0, True),
    ),
    (
        "stopped when hardly any of the reload's grace is left",
        {"retired_at": 100.0, "stopped_at": 1895.0},
        ShutdownPlan(1900.0, is_stop=True),
    ),
    (
        "the master waits less long than this worker knows",
        {"stopped_at": 100.0, "stop_grace_s": 2.0},
        ShutdownPlan(102.0, is_stop=True),
    ),
    (
        "the master waits longer",
        {"stopped_at": 100.0, "stop_grace_s": 60.0},
        ShutdownPlan(110.0, is_stop=True),
    ),
]


@pytest.mark.parametrize(("marks", "expected"), [row[1:] for row in ROWS])
def test_when_requests_are_cut(
    marks: dict[str, float | None], expected: ShutdownPlan | None
) -> None:
    unmarked: dict[str, float | None] = {"retired_at": None, "stopped_at": None}
    assert plan_shutdown(GRACE, **(unmarked | marks)) == expected


@pytest.mark.parametrize(
    ("now", "stage"),
    [
        (0.0, Stage.FINISHING),
        (99.99, Stage.FINISHING),
        (100.0, Stage.CUTTING),
        (100.99, Stage.CUTTING),
        (101.0, Stage.ABORTING),
        (101.99, Stage.ABORTING),
        (102.0, Stage.OVER),
        (9999.0, Stage.OVER),
    ],
)
def test_the_stages_follow_each_other(now: float, stage: Stage) -> None:
    assert ShutdownPlan(100.0, is_stop=True).stage(now) is stage


def test_idle_connections_have_longer_where_nobody_is_in_a_hurry() -> None:
    stop, retire = (
        ShutdownPlan(1.0, is_stop=is_stop).close_idle_after_s for is_stop in (True, False)
    )
    assert stop < retire
