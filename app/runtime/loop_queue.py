"""Queue for the event loop: in each turn of it, every caller has some time, however much that caller asks for.

Whatever is ready runs before the loop looks at its sockets again, and a greenlet that has yielded is ready at once (up
to a thousand of them, without a look). So a client whose requests have all come already would keep everybody else from
theirs. Whoever may have much to do waits here first: those of one line get a slice of each turn, in their order, and
what has come for others is seen between two turns.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import gevent
from gevent.hub import Waiter

SLICE_S = 0.001
"""Time of one line in one turn of the loop: one or two refused requests, or many reads. The last may take longer."""


class LoopQueue:
    """Lines of greenlets that wait for the loop. One for the worker. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[Hashable, deque[Any]] = {}
        self._is_turning = False

    def wait(self, line: Hashable) -> None:
        """Block until it is this greenlet's turn in its line; at once for the first in a turn of the loop."""
        if not self._is_turning:
            self._await_turn()
            return
        waiter: Any = Waiter()
        self._lines.setdefault(line, deque()).append(waiter)
        waiter.get()

    @cached_property
    def _timer(self) -> Any:
        # Made in the worker: the loop of the master's hub does not survive the fork.
        return gevent.get_hub().loop.timer(0)

    def _await_turn(self) -> None:
        self._is_turning = True
        # One that is due fires after the loop has looked at its sockets.
        self._timer.start(self._turn)

    def _turn(self) -> None:
        """Give each line its slice. Runs in the hub, to which a greenlet comes back when it waits for anything."""
        self._is_turning = False
        if not self._lines:
            return
        self._await_turn()
        for name, line in list(self._lines.items()):
            ends = self._clock() + SLICE_S
            while line and self._clock() < ends:
                line.popleft().switch(None)
            if not line:
                del self._lines[name]

    def __repr__(self) -> str:
        waiting = {name: len(line) for name, line in self._lines.items()}
        return f"<LoopQueue {waiting}>"
