"""When a worker that was told to go ends what. Pure: seconds of any monotonic clock are arguments.

Two reasons to go. *Retired*: a reload has replaced it, nobody is in a hurry, requests may go on for the reload's grace.
*Stopped*: the service ends; the grace is short, and it shortens that of a worker that was retired before.

    asked ──── finishing ──── cut_at ──── cutting ──── +1 s ──── breaking ──── +2 s ── over
               requests go on  turns end with a frame   what still hangs gets an error
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

BREAK_AFTER_S = 1.0
OVER_AFTER_S = 2.0
STOP_MARGIN_S = 10
"""How much longer than the grace the master waits before it kills: for what comes after, and the child's end."""


class Stage(Enum):
    """What a leaving worker does now."""

    FINISHING = "finishing"
    CUTTING = "cutting"
    BREAKING = "breaking"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class GracePeriods:
    """How long requests may go on, in seconds, after each way of being told to go."""

    stop_s: float
    reload_s: float


@dataclass(frozen=True, slots=True)
class ShutdownPlan:
    """The worker is going: when its requests are cut, and whether the whole service stops."""

    cut_at: float
    is_stop: bool

    @property
    def close_idle_after_s(self) -> float:
        """How long a connection must have been idle to be closed.

        Longer after a reload: a request that is on its way when the connection is closed would be lost, and a client
        that pauses for less than this never meets a closed connection. HTTP clients drop theirs after about as long.
        """
        return 0.5 if self.is_stop else 5.0

    def stage(self, now: float) -> Stage:
        """Return what the worker does at `now`."""
        late = now - self.cut_at
        if late < 0:
            return Stage.FINISHING
        if late < BREAK_AFTER_S:
            return Stage.CUTTING
        return Stage.BREAKING if late < OVER_AFTER_S else Stage.OVER


def departure(
    patience: GracePeriods,
    *,
    retired_at: float | None,
    stopped_at: float | None,
    stop_grace_s: float | None = None,
) -> ShutdownPlan | None:
    """Return how the worker goes; None if nobody told it to.

    `stop_grace_s` is what the master will wait for: a reload may have made it shorter than this worker knows.
    """
    cuts = []
    if retired_at is not None:
        cuts.append(retired_at + patience.reload_s)
    if stopped_at is not None:
        grace_s = patience.stop_s if stop_grace_s is None else min(patience.stop_s, stop_grace_s)
        cuts.append(stopped_at + grace_s)
    if not cuts:
        return None
    return ShutdownPlan(min(cuts), is_stop=stopped_at is not None)
