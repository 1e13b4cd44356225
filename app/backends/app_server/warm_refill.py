"""Refill of warm threads: started one at a time while the child begins no turn, given up where nobody needs them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import orjson
from gevent.event import Event

from app.backends.app_server import protocol
from app.backends.app_server.history import Load
from app.backends.app_server.parse_events import ProtocolError
from app.backends.app_server.thread_calls import ThreadCalls
from app.backends.app_server.thread_ends import ThreadEnds
from app.backends.app_server.warm_threads import NO_TOOLS, Kind, WarmThread, WarmThreads
from app.budget import SharedBudget
from app.errors import GatewayError
from app.rpc.calls import CallReport
from app.rpc.errors import RpcError

_EXPIRY_S = 30.0
_LOOK_S = 0.05
"""How often a child that is not quiet is looked at again, where nothing happens meanwhile."""


class WarmRefill:
    """See the module. `counters` counts what went wrong; bytes of tools are taken from `histories`."""

    def __init__(
        self,
        warm: WarmThreads,
        calls: ThreadCalls,
        ends: ThreadEnds,
        histories: SharedBudget,
        counters: Counter[str],
    ) -> None:
        self._warm = warm
        self._calls = calls
        self._ends = ends
        self._histories = histories
        self._counters = counters

    def run(
        self,
        model: str,
        changed: Event,
        *,
        is_quiet: Callable[[], bool],
        may_start: Callable[[], bool],
    ) -> None:
        """Refill for ever, whenever something has `changed`; `model` is what the first is started with. Blocks.

        While `may_start` says no, nothing is started: codex renews a login that is due for each thread anew.
        """
        looked_at = time.monotonic()
        while True:
            if time.monotonic() - looked_at >= _EXPIRY_S:
                looked_at = time.monotonic()
                self._ends.unload_warm(self._warm.expire(looked_at))
            while (kind := self._warm.needed(time.monotonic())) is not None:
                changed.clear()
                if not may_start():
                    break
                if not is_quiet():
                    changed.wait(_LOOK_S)
                elif not (self._add(kind, model) or self._warm.demand.forget(kind)):
                    break  # it is tried again later, and by each request in its own name
            changed.clear()
            changed.wait(_EXPIRY_S)

    def _add(self, kind: Kind, model: str) -> bool:
        """Start one thread; False where that was not possible."""
        request = self._warm.demand.start_of(kind, model)
        size = len(orjson.dumps(request.tools)) if kind != NO_TOOLS else 0
        held, reports, started = None, list[CallReport](), time.monotonic()
        try:
            held = self._histories.reserve(kind.owner, size) if size else None
            thread_id = self._calls.start(
                request,
                Load((), size),
                kind.owner,
                reports.append,
                self._roll_back,
                is_ahead=self._warm.demand.is_asked(kind),
            )
        except BaseException as error:
            if held is not None:
                held.release()
            if not isinstance(error, GatewayError | RpcError | ProtocolError):
                raise
            self._counters["warm_thread_failed"] += 1
            return False
        thread = WarmThread(thread_id, kind, started, reports[0], held)
        self._ends.unload_warm(self._warm.add(thread))
        return True

    def _roll_back(self, late: object) -> None:
        self._ends.roll_back(protocol.parse_thread_id(late))
