"""A generation: one child, the channel to it, and its handshake. A restart makes the next one.

Everything held by a generation fails with it: pending calls through the channel, running turns here.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from gevent.event import Event
from gevent.pool import Group

from app.backend.admission import Slot
from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, RequestObserver, TurnObserver
from app.backend.request import Model, TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.notifications import Notifications
from app.backends.app_server.parse_events import ThreadId
from app.backends.app_server.rpc_errors import to_gateway_error
from app.backends.app_server.server_requests import PARKED_S, ServerRequests
from app.backends.app_server.shield import run_shielded
from app.backends.app_server.thread_cleanup import ThreadCleanup
from app.backends.app_server.turn import Turn
from app.codex.account import AccountLimits
from app.codex.home import LoginMark
from app.errors import GatewayError
from app.process.child import Child
from app.rpc.call_record import LateResultHandler, ignore_late_result
from app.rpc.channel import Channel, ChannelClosed, RpcError

log = logging.getLogger("codex_api.codex")

_DETACH_S = 1.0
_MAX_MODEL_PAGES = 50


class Connection:
    """See the module. `on_lost` is called once when the pipe closes while the child may still run.

    What the child hears of the account's limits goes into `account`.
    `login` says with which login the child was started; `began` is when (monotonic seconds).
    """

    def __init__(
        self,
        number: int,
        child: Child,
        *,
        rpc_timeout_s: float,
        on_lost: Callable[[Connection], None],
        parked_s: float = PARKED_S,
        account: AccountLimits | None = None,
        login: LoginMark | None = None,
    ) -> None:
        self.number = number
        self.pid = child.pid
        self._child = child
        self.login = login
        self.began = time.monotonic()
        self.user_agent = ""
        self.models: tuple[Model, ...] = ()
        self.counters: Counter[str] = Counter()
        self._rpc_timeout_s = rpc_timeout_s
        self._on_lost = on_lost
        self._account = account or AccountLimits()
        self._turns: dict[ThreadId, Turn] = {}
        self._at_rest = Event()
        self._companions = Group()
        self._endings = ThreadCleanup(rpc_timeout_s, self.counters)
        self._requests = ServerRequests(
            self._turns.get, self._endings.group, self.counters, parked_s
        )
        notifications = Notifications(self._turns.get, self.counters, self._account)
        self.channel = Channel(
            child.socket,
            on_notification=notifications.hear,
            on_request=lambda request: self._requests.hear(request, self.channel),
            on_close=self._on_close,
        )
        self._endings.channel = self.channel

    @property
    def open_turns(self) -> int:
        """Turns that were begun and not given back yet."""
        return len(self._turns)

    def kill(self) -> None:
        """End the child at once; what runs on it fails when its pipe closes."""
        self._child.kill()

    def accompany(self, companion: Callable[[], None]) -> None:
        """Run something in a greenlet for as long as this generation lives."""
        self._companions.spawn(companion)

    # Handshake

    def shake_hands(self, version: str, timeout_s: float, silence_log: Callable[[], None]) -> None:
        """`initialize`, `initialized`, and the model list. Blocks; raises if the child does not answer properly."""
        result = self.channel.call("initialize", protocol.initialize_params(version), timeout_s)
        self.user_agent = protocol.parse_user_agent(result)
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
            result = self._call("model/list", protocol.model_list_params(cursor))
            page, cursor = protocol.parse_models(result)
            models += page
            if cursor is None:
                break
        return models

    def ask_for_limits(self) -> None:
        """Let the child look up the account's limits, before the first answer tells them. Blocks, cannot fail."""
        # codex itself refuses where there is no ChatGPT login, and needs the network where there is one.
        with suppress(GatewayError):
            self._account.hear(
                self.channel.call("account/rateLimits/read", None, self._rpc_timeout_s)
            )

    # Turns

    def start_turns(
        self,
        requests: Sequence[TurnRequest],
        slots: Sequence[Slot],
        watch: RequestObserver = NULL_OBSERVER,
    ) -> list[Turn]:
        """Begin a turn for each request: all or none. On failure the caller still holds the slots. Blocks.

        Raises what `start_turn` raises.
        """
        turns: list[Turn] = []
        try:
            # One by one: whatever fails, the turns that were begun are known and can be closed.
            for request, slot in zip(requests, slots, strict=True):
                turns.append(self.start_turn(request, Lease(slot), watch.turn()))
        except BaseException:
            for turn in turns:
                _take_back(turn)
            raise
        return turns

    def start_turn(
        self, request: TurnRequest, lease: Lease, watch: TurnObserver = NULL_OBSERVER
    ) -> Turn:
        """Start a thread, give it the whole history, begin the turn. Blocks for three RPCs.

        `lease` is the turn's once there is one; on failure it has been emptied, not given back.
        Raises `WorkerUnavailable` (with its kin) or `InvalidRequest` if codex refuses an item.
        """
        work = partial(self._start_turn, request, lease, watch)
        return run_shielded(self._endings.group, work, _take_back)

    def _start_turn(self, request: TurnRequest, lease: Lease, watch: TurnObserver) -> Turn:
        # A child that is slow may do it all the same, once nobody waits for it any more: hence `undo`.
        started = self._call(
            "thread/start",
            protocol.thread_start_params(request),
            watch,
            lambda late: self._endings.undo(protocol.parse_thread_id(late)),
        )
        thread_id = protocol.parse_thread_id(started)
        turn = Turn(
            thread_id,
            self.number,
            self._give_back,
            has_tools=bool(request.tools),
            watch=watch,
            lease=lease,
        )
        # Before turn/start: the first event may overtake its answer.
        self._turns[thread_id] = turn
        try:
            self._call(
                "thread/inject_items", protocol.inject_items_params(thread_id, request), watch
            )
            accepted = self._call(
                "turn/start",
                protocol.turn_start_params(thread_id, request),
                watch,
                lambda late: self._endings.undo(thread_id, protocol.parse_turn_id(late)),
            )
            turn.begin(protocol.parse_turn_id(accepted))
        except BaseException:
            lease.take()
            turn.close()
            raise
        return turn

    def _call(
        self,
        method: str,
        params: object,
        watch: TurnObserver = NULL_OBSERVER,
        late: LateResultHandler = ignore_late_result,
    ) -> object:
        timeout_s = self._rpc_timeout_s
        try:
            return self.channel.call(method, params, timeout_s, watch.called, on_late=late)
        except RpcError as error:
            raise to_gateway_error(error) from error

    def fail_turns(self, error: GatewayError) -> None:
        """End every open turn from our side."""
        for turn in list(self._turns.values()):
            turn.fail(error)

    def _give_back(self, turn: Turn) -> None:
        self._endings.begin(turn, lambda: self._forget(turn))

    def _forget(self, turn: Turn) -> None:
        self._turns.pop(turn.thread_id, None)
        if not self._turns:
            self._at_rest.set()

    def _on_close(self) -> None:
        self._at_rest.set()
        for turn in list(self._turns.values()):
            turn.ended.set()
            turn.fail(ChannelClosed("The codex process went away during the answer."))
        self._on_lost(self)

    def retire(self) -> None:
        """Block until no turn is left here. See `app.process.living.SessionHandler`."""
        while self._turns and not self.channel.is_closed:
            self._at_rest.clear()
            self._at_rest.wait()

    def detach(self) -> None:
        """The child is gone: fail who still waits, end our greenlets. See `app.process.living.SessionHandler`."""
        self._companions.kill(block=False)
        self.channel.close()
        self.channel.join(_DETACH_S)
        self._endings.group.join(_DETACH_S)

    def __repr__(self) -> str:
        return f"<Connection {self.number} pid={self.pid} turns={self.open_turns} {self.channel!r}>"


def _take_back(turn: Turn) -> None:
    """End a turn that nobody waits for any more; whoever asked for it has seen to the slot."""
    turn.lease.take()
    turn.close()
