"""Pause in long work of a greenlet, so that the loop serves whatever is ready: other greenlets, sockets, timers."""

from __future__ import annotations

import gevent

_A_MOMENT_S = 1e-6


def pause() -> None:
    """Let the loop go round once. Costs some microseconds where nothing else is ready.

    `gevent.sleep(0)` lets only those run that are ready already: the loop looks at sockets and timers after 50 of such
    pauses, which is 50 times the work between two of them.
    """
    gevent.sleep(_A_MOMENT_S)
