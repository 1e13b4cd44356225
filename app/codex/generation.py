"""A generation: one child, the channel to it, and its handshake. A restart makes the next one.

Everything held by a generation fails with it: pending calls through the channel, running turns here.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import partial

from gevent.pool import Group

from app.codex import methods
from app.codex.approvals import TOOL_CALL, Refusal, answer_to
from app.codex.events import ProtocolError, ThreadId, parse_event
from app.codex.methods import Model, TurnRequest
from app.codex.turn import Turn
from app.errors import GatewayError, InvalidRequest, UpstreamError, WorkerUnavailable
from app.process.child import Child
from app.rpc.channel import Channel, ChannelClosed, RpcError, RpcTimeout
from app.rpc.messages import OVERLOADED, Notification, Request

log = logging.getLogger("codex_api.codex")

_INTERRUPT_ATTEMPTS = 20
_INTERRUPT_PAUSE_S = 0.1
_DETACH_S = 1.0
_MAX_MODEL_PAGES = 50
PARKED_S = 30.0
"""How long a call of a client's tool waits for its response to be whole. codex tells that a response broke off only
once its calls are answered; without this the turn would hang until its deadline."""


class Generation:
    """See the module. `on_lost` is called once when the pipe closes while the child may still run."""

    def __init__(
        self,
        number: int,
        child: Child,
        *,
        rpc_timeout_s: float,
        on_lost: Callable[[Generation], None],
        parked_s: float = PARKED_S,
    ) -> None:
        self.number = number
        self.pid = child.pid
        self.user_agent = ""
        self.models: tuple[Model, ...] = ()
        self.counters: Counter[str] = Counter()
        self._rpc_timeout_s = rpc_timeout_s
        self._on_lost = on_lost
        self._parked_s = parked_s
        self._turns: dict[ThreadId, Turn] = {}
        self._endings = Group()
        self.channel = Channel(
            child.socket,
            on_notification=self._on_notification,
            on_request=self._on_request,
            on_close=self._on_close,
        )

    @property
    def open_turns(self) -> int:
        """Turns that were begun and not given back yet."""
        return len(self._turns)

    # Handshake

    def shake_hands(self, version: str, timeout_s: float, silence_log: Callable[[], None]) -> None:
        """`initialize`, `initialized`, and the model list. Blocks; raises if the child does not answer properly."""
        result = self.channel.call("initialize", methods.initialize_params(version), timeout_s)
        self.user_agent = methods.parse_user_agent(result)
        self.channel.notify("initialized")
        self.models = tuple(self._list_models())
        try:
            silence_log()
        except sqlite3.Error:
            # The log then grows until the next start; no reason to refuse service.
            log.warning("codex_log_not_silenced", exc_info=True)

    def _list_models(self) -> list[Model]:
        models: list[Model] = []
        cursor: str | None = None
        for _ in range(_MAX_MODEL_PAGES):
            result = self._call("model/list", methods.model_list_params(cursor))
            page, cursor = methods.parse_models(result)
            models += page
            if cursor is None:
                break
        return models

    # Turns

    def start_turn(self, request: TurnRequest, on_close: Callable[[], None]) -> Turn:
        """Start a thread, give it the whole history, begin the turn. Blocks for three RPCs.

        `on_close` is called when the turn no longer runs in the child, maybe more than once.
        Raises `WorkerUnavailable` (with its kin) or `InvalidRequest` if codex refuses an item.
        """
        started = self._call("thread/start", methods.thread_start_params(request))
        thread_id = methods.parse_thread_id(started)
        give_back = partial(self._give_back, on_close)
        turn = Turn(thread_id, self.number, give_back, has_tools=bool(request.tools))
        # Before turn/start: the first event may overtake its answer.
        self._turns[thread_id] = turn
        try:
            self._call("thread/inject_items", methods.inject_items_params(thread_id, request))
            accepted = self._call("turn/start", methods.turn_start_params(thread_id, request))
            turn.begin(methods.parse_turn_id(accepted))
        except BaseException:
            turn.close()
            raise
        return turn

    def _call(self, method: str, params: object) -> object:
        try:
            return self.channel.call(method, params, self._rpc_timeout_s)
        except RpcError as error:
            raise _translate(error) from error

    def fail_turns(self, error: GatewayError) -> None:
        """End every open turn from our side."""
        for turn in list(self._turns.values()):
            turn.fail(error)

    def _give_back(self, on_close: Callable[[], None], turn: Turn) -> None:
        if turn.ended.is_set():
            on_close()
        self._endings.spawn(self._end_turn, turn, on_close)

    def _end_turn(self, turn: Turn, on_close: Callable[[], None]) -> None:
        """Interrupt what still runs, then let codex unload the thread. A greenlet of its own."""
        try:
            if turn.turn_id is not None and not turn.ended.is_set():
                self._interrupt(turn)
            on_close()
            self._call("thread/unsubscribe", methods.unsubscribe_params(turn.thread_id))
        except ChannelClosed:
            pass  # the thread went with its child
        except (GatewayError, ProtocolError):
            self.counters["end_turn_failed"] += 1
            log.warning("turn_not_ended", extra={"thread_id": turn.thread_id}, exc_info=True)
        finally:
            on_close()
            self._turns.pop(turn.thread_id, None)

    def _interrupt(self, turn: Turn) -> None:
        """Ask until codex says that the turn is over: an early request is refused while the turn runs on."""
        assert turn.turn_id is not None  # noqa: S101  (checked by the only caller)
        params = methods.interrupt_params(turn.thread_id, turn.turn_id)
        for _ in range(_INTERRUPT_ATTEMPTS):
            try:
                self.channel.call("turn/interrupt", params, self._rpc_timeout_s)
            except RpcError:
                self.counters["interrupt_refused"] += 1
            except RpcTimeout:
                break  # asking again would only keep the slot; the thread is still given back
            if turn.ended.wait(_INTERRUPT_PAUSE_S):
                return
        self.counters["interrupt_failed"] += 1
        log.error("turn_not_interrupted", extra={"thread_id": turn.thread_id})

    # What the child says: runs in the channel's reader, must not block

    def _on_notification(self, notification: Notification) -> None:
        try:
            addressed = parse_event(notification.method, notification.params)
        except ProtocolError as error:
            self.counters["protocol_error"] += 1
            log.warning("codex_protocol_error", extra={"field": error.field})
            if notification.method == "turn/completed":
                self._end_unread(notification)
            return
        if addressed is None:
            self.counters["ignored_notification"] += 1
            return
        turn = self._turns.get(addressed.thread_id)
        if turn is None:
            self.counters["orphan_event"] += 1
        else:
            turn.deliver(addressed)

    def _end_unread(self, notification: Notification) -> None:
        """An end that we cannot read is an end all the same: nothing more will come."""
        turn = self._turns.get(ThreadId(str(notification.params.get("threadId"))))
        if turn is not None:
            turn.ended.set()
            turn.fail(UpstreamError("The answer ended in a way that this gateway does not know."))

    def _on_request(self, request: Request) -> None:
        self.counters["server_request"] += 1
        if request.method == TOOL_CALL and self._is_for_a_client(request):
            return
        self._decline(request)

    def _decline(self, request: Request) -> None:
        log.warning("codex_request_declined", extra={"method": request.method})
        answer = answer_to(request.method)
        if isinstance(answer, Refusal):
            self.channel.refuse(request, answer.code, answer.message)
        else:
            self.channel.answer(request, answer.result)

    def _is_for_a_client(self, request: Request) -> bool:
        """True for a call of a tool that the client offered: the client runs it, so codex gets no answer.

        The turn is interrupted as soon as all its calls are known; an answer would make the model go on without them.
        """
        turn = self._turns.get(ThreadId(str(request.params.get("threadId"))))
        if turn is None or not turn.has_tools:
            return False
        self._endings.spawn(self._answer_late, request, turn)
        return True

    def _answer_late(self, request: Request, turn: Turn) -> None:
        if not turn.ended.wait(self._parked_s):
            self.counters["parked_call_given_up"] += 1
            self._decline(request)

    def _on_close(self) -> None:
        for turn in list(self._turns.values()):
            turn.ended.set()
            turn.fail(ChannelClosed("The codex process went away during the answer."))
        self._on_lost(self)

    def detach(self) -> None:
        """The child is gone: fail who still waits, end our greenlets. See `app.process.supervisor.Attachment`."""
        self.channel.close()
        self.channel.join(_DETACH_S)
        self._endings.join(_DETACH_S)

    def __repr__(self) -> str:
        return f"<Generation {self.number} pid={self.pid} turns={self.open_turns} {self.channel!r}>"


def _translate(error: RpcError) -> GatewayError:
    if error.rpc_code == OVERLOADED:
        return WorkerUnavailable("The codex process is overloaded; try again shortly.")
    if error.method == "thread/inject_items":
        return InvalidRequest("The conversation was refused by codex.", param="messages")
    if error.method == "thread/start" and "dynamic" in error.rpc_message.lower():
        return InvalidRequest("A tool was refused by codex.", param="tools")
    return error
