"""Shutdown schedule of a worker: when it cuts its requests, and when it aborts what still hangs. Pure.

Times are seconds of any monotonic clock, and arguments. There are two reasons. *Retired*: a reload has replaced
the worker, and requests may go on for the reload's grace. *Stopped*: the service ends; the grace is
short, and it shortens that of a worker that was retired before.

    asked ──── finishing ──── cut_at ──── cutting ──── +1 s ──── aborting ──── +2 s ── over
               requests go on  turns end with a frame   what still hangs gets an error
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

ABORT_AFTER_S = 1.0
OVER_AFTER_S = 2.0
STOP_MARGIN_S = 10
"""Time beyond the grace that the master waits before it kills: for what comes after, and the child's end."""


class Stage(Enum):
    """Stage of a worker's shutdown."""

    FINISHING = "finishing"
    CUTTING = "cutting"
    ABORTING = "aborting"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class GracePeriods:
    """Time that requests may go on, in seconds, after a reload and after a stop."""

    stop_s: float
    reload_s: float


@dataclass(frozen=True, slots=True)
class ShutdownPlan:
    """Shutdown of a worker: when its requests are cut, and whether the whole service stops."""

    cut_at: float
    is_stop: bool

    @property
    def close_idle_after_s(self) -> float:
        """Time that a connection must have been idle to be closed.

        Longer after a reload: a request that is on its way when the connection is closed would be lost, and a client
        that pauses for less than this never meets a closed connection. HTTP clients drop theirs after about as long.
        """
        return 0.5 if self.is_stop else 5.0

    def stage(self, now: float) -> Stage:
        """Return the stage at `now`."""
        late = now - self.cut_at
        if late < 0:
            return Stage.FINISHING
        if late < ABORT_AFTER_S:
            return Stage.CUTTING
        return Stage.ABORTING if late < OVER_AFTER_S else Stage.OVER


def plan_shutdown(
    grace: GracePeriods,
    *,
    retired_at: float | None,
    stopped_at: float | None,
    stop_grace_s: float | None = None,
) -> ShutdownPlan | None:
    """Return the worker's shutdown; None while there is no reason for one.

    `stop_grace_s` is what the master will wait for: a reload may have made it shorter than this worker knows.
    """
    cuts = []
    if retired_at is not None:
        cuts.append(retired_at + grace.reload_s)
    if stopped_at is not None:
        grace_s = grace.stop_s if stop_grace_s is None else min(grace.stop_s, stop_grace_s)
        cuts.append(stopped_at + grace_s)
    if not cuts:
        return None
    return ShutdownPlan(min(cuts), is_stop=stopped_at is not None)
