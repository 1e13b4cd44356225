"""Heavy calls to one child: those over whose line it takes its time. One at a time, and keys by turns.

The child reads lines one after another, and parses several in parallel to its streams only as far as there are
processors. So a heavy line is written when the one before it is answered: light lines pass between two of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from gevent.lock import Semaphore

ANSWER_S = 60.0
"""How long the child may take over one line of the largest kind on a busy machine."""

_AFTERMATH_S = 10.0
"""How long after its answer the child may be at work on it: it writes the request to the upstream."""


class HeavyCalls:
    """The place for one heavy call. No key has more than one call in the line for it, so keys take turns."""

    def __init__(self) -> None:
        self._place = Semaphore(1)
        self._lines: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self._is_running = False
        self._ended_at = -math.inf

    @contextmanager
    def one(self, owner: str) -> Iterator[None]:
        """Wait for the place, and have it in a `with` block. Blocks, as long as the calls before it take."""
        line = self._lines.setdefault(owner, Semaphore(1))
        with line, self._place:
            self._is_running = True
            try:
                yield
            finally:
                self._is_running = False
                self._ended_at = time.monotonic()

    @property
    def are_felt(self) -> bool:
        """True while the child may be busy with a heavy call, or with what follows from it."""
        return self._is_running or time.monotonic() - self._ended_at < _AFTERMATH_S

    def __repr__(self) -> str:
        return f"<HeavyCalls running={self._is_running} keys={len(self._lines)}>"
