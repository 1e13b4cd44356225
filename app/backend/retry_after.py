"""Retry-After for a refused request, from the rate at which places become free. Pure.

`now` is in seconds of any monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque

LEAST_S = 1
MOST_S = 60
WINDOW_S = 60.0
"""What became free longer ago than this does not count."""

_MOMENTS = 64


class ReleaseRate:
    """Times at which places of a scarce kind became free, recorded while requests wait for one."""

    def __init__(self) -> None:
        self._wanted_since: float | None = None
        self._moments: deque[float] = deque(maxlen=_MOMENTS)

    def start(self, now: float) -> None:
        """Begin to record, unless that has begun: a request has to wait, or was refused."""
        if self._wanted_since is None:
            self._wanted_since = now

    def record(self, now: float) -> None:
        """Note that one became free."""
        self._moments.append(now)

    def reset(self) -> None:
        """Stop recording: no request waits and there is some left."""
        self._wanted_since = None
        self._moments.clear()

    @property
    def is_wanted(self) -> bool:
        """True from `start` to `reset`."""
        return self._wanted_since is not None

    def wait_s(self, ahead: int, now: float) -> int:
        """Return the seconds, 1 to 60, in which `ahead` of them will probably be free.

        Where none was freed yet, one is expected to take as long again as has been waited.
        """
        since = max(now if self._wanted_since is None else self._wanted_since, now - WINDOW_S)
        if len(self._moments) == _MOMENTS:
            since = max(since, self._moments[0])
        count = sum(moment > since for moment in self._moments)
        return clamped_s(ahead * (now - since) / max(1, count))


def clamped_s(seconds: float) -> int:
    """Return whole seconds for `Retry-After`, rounded up, from 1 to 60."""
    return min(max(math.ceil(seconds), LEAST_S), MOST_S)


def seconds_until(moment: float | None, now: float) -> int:
    """Return the seconds, 1 to 60, until a moment; 1 if there is none, or it is over."""
    return clamped_s(0 if moment is None else moment - now)
