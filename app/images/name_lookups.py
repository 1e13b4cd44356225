"""Lookups of names in native threads of their own, with a deadline, and a share of the threads for each key.

The system's resolver cannot be broken off: a name whose server is silent keeps its thread for half a minute. In the
threads that everything else shares, a few such names of one caller would keep all others waiting.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeAlias

from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from app.errors import WorkerBusy
from app.images.ssrf_guard import NotFetched, Reason, Resolver

LOOKUPS = 16
"""Names that are looked up at once."""

TakePlace: TypeAlias = Callable[[str, float], Callable[[], None]]
"""Waits for a place in the name of a key, so many seconds at most; returns what gives it back. Raises `WorkerBusy`."""


class NameLookups:
    """Looks up names with `resolver`, which is called in a thread. `take_place` gives out `LOOKUPS` places."""

    def __init__(self, resolver: Resolver, take_place: TakePlace, within_s: float) -> None:
        self._resolver, self._take_place, self._within_s = resolver, take_place, within_s

    @cached_property
    def _threads(self) -> ThreadPool:
        return ThreadPool(LOOKUPS)

    def resolve(self, owner: str, name: str, port: int) -> list[str]:
        """Return the addresses of a name. Blocks `within_s` at most.

        Raises `NotFetched` where there is no answer in time, `OSError` or `ValueError` where there are no addresses.
        """
        began = time.monotonic()
        try:
            give_back = self._take_place(owner, self._within_s)
        except WorkerBusy:
            raise NotFetched(Reason.NAME_DEADLINE) from None
        # What a thread raises gevent prints.
        lookup = wrap_errors((Exception,), self._look_up)
        task = self._threads.spawn(lookup, name, port)
        task.rawlink(
            lambda _: give_back()
        )  # not before the thread is free, however long that takes
        task.wait(timeout=max(0.0, began + self._within_s - time.monotonic()))
        if not task.ready():
            raise NotFetched(Reason.NAME_DEADLINE)
        found: Any = task.get()
        if isinstance(found, socket.gaierror) and found.errno == socket.EAI_AGAIN:
            raise NotFetched(Reason.NAME_DEADLINE)
        if isinstance(found, Exception):
            raise found
        addresses: list[str] = found
        return addresses

    def _look_up(self, name: str, port: int) -> list[str]:
        found: Iterable[str] = self._resolver(name, port)
        return list(found)
