"""The history of a child: newest first, and bounded."""

from __future__ import annotations

from app.process.history import MOST_MOMENTS, History
from app.process.lifecycle import LastExit, Moment


def test_the_newest_comes_first_and_the_oldest_gives_way() -> None:
    times = iter(range(1000))
    history = History(lambda: float(next(times)))
    for pid in range(2 * MOST_MOMENTS):
        history.note("ready", pid)
    moments = history.moments
    assert len(moments) == MOST_MOMENTS
    assert moments[0] == Moment(63.0, "ready", 63)
    assert moments[-1] == Moment(32.0, "ready", 32)


def test_an_exit_has_its_reason_and_its_code() -> None:
    history = History(lambda: 1.0)
    history.note_exit(LastExit(-9, "exited"))
    history.note_exit(LastExit(None, "start_failed", "No such file."))
    assert history.moments == (
        Moment(1.0, "exited", reason="start_failed", detail="No such file."),
        Moment(1.0, "exited", reason="exited", exit_code=-9),
    )
