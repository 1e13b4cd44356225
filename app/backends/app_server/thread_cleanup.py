"""How a turn ends in the child once nobody waits for it: interrupted if it still runs, its thread unloaded."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import gevent
from gevent.pool import Group

from app.backends.app_server import protocol
from app.backends.app_server.parse_events import ProtocolError, ThreadId, TurnId
from app.backends.app_server.turn import Turn
from app.errors import GatewayError
from app.rpc.channel import Channel, ChannelClosed, RpcError, RpcTimeout

log = logging.getLogger("codex_api.codex")

_ATTEMPTS = 20
_PAUSE_S = 0.1
DYING_S = 0.05
"""How long an interrupted turn keeps its slot. codex stops at once, and then sometimes waits 100 ms before it says so;
a client that comes next should not wait for that. A refused interrupt keeps the slot: then the turn really runs on."""


class ThreadCleanup:
    """The turns of one child that are being ended, each in a greenlet of `group`. `channel` is set right after."""

    channel: Channel

    def __init__(self, rpc_timeout_s: float, counters: Counter[str]) -> None:
        self.group = Group()
        self._rpc_timeout_s = rpc_timeout_s
        self._counters = counters

    def begin(self, turn: Turn, forget: Callable[[], object]) -> None:
        """End a turn; does not block. `forget` is called when its thread is gone."""
        if turn.ended.is_set():
            turn.lease.turn_over()
        self.group.spawn(self._end, turn, forget)

    def _end(self, turn: Turn, forget: Callable[[], object]) -> None:
        try:
            if turn.turn_id is not None and not turn.ended.is_set():
                self._interrupt(turn)
            turn.lease.turn_over()
            self._call("thread/unsubscribe", protocol.unsubscribe_params(turn.thread_id), turn)
        except ChannelClosed:
            pass  # the thread went with its child
        except (GatewayError, ProtocolError):
            self._counters["end_turn_failed"] += 1
            log.warning("turn_not_ended", extra={"thread_id": turn.thread_id}, exc_info=True)
        finally:
            turn.lease.turn_over()
            forget()
            turn.watch.closed()

    def _interrupt(self, turn: Turn) -> None:
        """Ask until codex says that the turn is over: an early request is refused while the turn runs on."""
        assert turn.turn_id is not None  # noqa: S101  (checked by the only caller)
        params = protocol.interrupt_params(turn.thread_id, turn.turn_id)
        dying = gevent.spawn_later(DYING_S, turn.lease.turn_over)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    self._call("turn/interrupt", params, turn)
                except RpcError:
                    self._counters["interrupt_refused"] += 1
                    dying.kill(block=False)
                except RpcTimeout:
                    break  # asking again would only keep the slot; the thread is still given back
                if turn.ended.wait(_PAUSE_S):
                    return
        finally:
            dying.kill(block=False)
        self._counters["interrupt_failed"] += 1
        log.error("turn_not_interrupted", extra={"thread_id": turn.thread_id})

    def undo(self, thread_id: ThreadId, turn_id: TurnId | None = None) -> None:
        """End what began when nobody waited for it any more; does not block."""
        self._counters["began_too_late"] += 1
        self.group.spawn(self._undo, thread_id, turn_id)

    def _undo(self, thread_id: ThreadId, turn_id: TurnId | None) -> None:
        if turn_id is not None:
            with suppress(GatewayError):  # refused: it is over
                params = protocol.interrupt_params(thread_id, turn_id)
                self.channel.call("turn/interrupt", params, self._rpc_timeout_s)
        with suppress(GatewayError):
            unloading = protocol.unsubscribe_params(thread_id)
            self.channel.call("thread/unsubscribe", unloading, self._rpc_timeout_s)

    def _call(self, method: str, params: object, turn: Turn) -> None:
        self.channel.call(method, params, self._rpc_timeout_s, turn.watch.called)
