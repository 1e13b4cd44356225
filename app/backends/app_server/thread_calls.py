"""Calls about one thread: started, given items, asked, interrupted, unloaded. Each blocks until codex has answered.

A heavy one, over which the child takes its time, waits for its turn among the heavy ones and has more time than others.
All raise `RpcError` and `ProtocolError`.
"""

from __future__ import annotations

import time

from app.backend.request import TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.heavy_calls import ANSWER_S, HeavyCalls
from app.backends.app_server.history import Load
from app.backends.app_server.parse_events import ThreadId, TurnId
from app.backends.app_server.thread import Thread
from app.codex.upstream_websockets import NO_WEBSOCKETS
from app.rpc.calls import (
    Call,
    CallObserver,
    CallReport,
    LateResultHandler,
    ignore_call,
    ignore_late_result,
)
from app.rpc.channel import Channel

_INJECT = "thread/inject_items"

INTERRUPT_S = 2.0
"""How long an interrupt may take: codex may leave one unanswered, so that it is better asked again than waited for."""


class ThreadCalls:
    """See the module. `owner` is always the name of the key in whose name a call is made.

    `timeout_s` is how long codex has for one call, of whatever kind.
    """

    def __init__(self, channel: Channel, rpc_timeout_s: float) -> None:
        self.heavy = HeavyCalls()
        self.websockets = NO_WEBSOCKETS
        self._channel = channel
        self.timeout_s = rpc_timeout_s

    def start(
        self,
        request: TurnRequest,
        load: Load,
        owner: str,
        observer: CallObserver,
        on_late: LateResultHandler,
        *,
        is_ahead: bool = False,
    ) -> ThreadId:
        """Start a thread. `on_late` is given a result that came after the deadline; `is_ahead`: no request waits."""
        over_websocket = self.websockets.is_for(
            time.monotonic(), has_tools=bool(request.tools), is_ahead=is_ahead
        )
        params = protocol.thread_start_params(request, over_websocket=over_websocket)
        heavy_of = owner if load.is_offer_heavy else None
        return protocol.parse_thread_id(
            self._call("thread/start", params, observer, on_late, heavy_of=heavy_of)
        )

    def inject(self, thread_id: ThreadId, load: Load, owner: str, observer: CallObserver) -> None:
        """Give a thread the items of a load, piece by piece. The observer sees one call."""
        if not load.pieces:
            return
        items = [item for piece in load.pieces for item in piece.items]
        whole = CallReport(_INJECT, protocol.inject_items_params(thread_id, items))
        try:
            for piece in load.pieces:
                params = protocol.inject_items_params(thread_id, piece.items)
                is_heavy = piece.is_heavy or load.is_offer_heavy
                self._call(_INJECT, params, whole.include, heavy_of=owner if is_heavy else None)
        finally:
            observer(whole)

    def ask(
        self,
        thread: Thread,
        request: TurnRequest,
        load: Load,
        owner: str,
        observer: CallObserver,
        on_late: LateResultHandler,
    ) -> TurnId:
        """Give a thread what is new, and begin a turn on it; in one write where that is safe (`Load.is_plain`).

        `on_late` is given the result of a turn that was begun in vain: after its deadline, or although codex has
        refused the items.
        """
        thread_id = thread.turn.thread_id
        asked = Call(
            "turn/start", protocol.turn_start_params(thread_id, request), observer, on_late
        )
        if load.is_plain:
            items = load.pieces[0].items
            given = Call(_INJECT, protocol.inject_items_params(thread_id, items), observer)
            thread.is_asked = True
            return protocol.parse_turn_id(
                self._channel.call_in_order((given, asked), self.timeout_s)[1]
            )
        self.inject(thread_id, load, owner, observer)
        # Before turn/start: the first event may overtake its answer.
        thread.is_asked = True
        heavy_of = owner if load.is_heavy else None
        return protocol.parse_turn_id(
            self._call(asked.method, asked.params, observer, on_late, heavy_of=heavy_of)
        )

    def interrupt(
        self,
        thread_id: ThreadId,
        turn_id: TurnId,
        observer: CallObserver = ignore_call,
        *,
        is_patient: bool = True,
    ) -> None:
        """Ask for the end of a turn. Blocks until codex has ended it; without patience for INTERRUPT_S at most."""
        timeout_s = self.timeout_s if is_patient else min(INTERRUPT_S, self.timeout_s)
        params = protocol.interrupt_params(thread_id, turn_id)
        self._channel.call("turn/interrupt", params, timeout_s, observer)

    def unload(self, thread_id: ThreadId, observer: CallObserver = ignore_call) -> None:
        """Give up a thread: codex then unloads it."""
        self._call("thread/unsubscribe", protocol.unsubscribe_params(thread_id), observer)

    def is_active(self, thread_id: ThreadId, observer: CallObserver) -> bool:
        """Return True if a turn runs on a thread."""
        return protocol.is_active(
            self._call("thread/read", protocol.read_params(thread_id), observer)
        )

    def _call(
        self,
        method: str,
        params: object,
        observer: CallObserver,
        on_late: LateResultHandler = ignore_late_result,
        *,
        heavy_of: str | None = None,
    ) -> object:
        if heavy_of is None:
            return self._channel.call(method, params, self.timeout_s, observer, on_late=on_late)
        with self.heavy.one(heavy_of):
            timeout_s = max(ANSWER_S, self.timeout_s)
            return self._channel.call(method, params, timeout_s, observer, on_late=on_late)
