"""Connection to one child: its channel, its handshake, and the routing of what it says to threads.

A restart makes the next one; they are numbered as generations. Everything held by a connection fails with it: pending
calls through the channel, running turns here.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import gevent
from gevent.pool import Group
from gevent.util import wrap_errors

from app.backend.account import AccountLimits
from app.backend.events import Event, MessageBegan, Retrying, TextDelta, TextRun, TurnEnded
from app.backend.request import Model
from app.backends.app_server import protocol
from app.backends.app_server.idle_work import Work
from app.backends.app_server.parse_events import (
    Addressed,
    ProtocolError,
    ThreadId,
    TurnId,
    parse_address,
    parse_event,
)
from app.backends.app_server.server_requests import PARKED_S, ServerRequests
from app.backends.app_server.text_runs import TextRuns
from app.backends.app_server.threads import Threads
from app.backends.app_server.turn import Turn, too_large
from app.codex.account import UPDATED, parse_windows, with_reset
from app.codex.auth_file import LoginMark
from app.errors import GatewayError, UpstreamError, WorkerLost
from app.process.child import Child
from app.process.memory import cpu_seconds, waited_seconds
from app.rpc.channel import Channel
from app.rpc.errors import CallRefused, ChannelClosed, RpcError
from app.rpc.messages import Notification, Oversized, Request

log = logging.getLogger("codex_api.codex")

_DETACH_S = 1.0
_MAX_MODEL_PAGES = 50
_TELLING = (Retrying, TurnEnded)
_RENEWAL_S = 86_400.0
"""No limit: codex has its own, and a renewal that nobody waits for must still be known."""


class Connection:
    """One child, spoken to. `on_lost` is called once when the channel closes while the child may still run.

    Reports about the account's limits go into `account`; `on_event` is given the events of turns that tell of a failure
    or an end, and must not block.
    `login` says with which login the child was started;
    `began` is when (monotonic seconds). `is_renewing`: it was asked to renew its login, and has not answered.
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
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.number = number
        self.pid = child.pid
        self._child = child
        self.login = login
        self.is_renewing = False
        self.began = time.monotonic()
        self.user_agent = ""
        self.models: tuple[Model, ...] = ()
        self.counters: Counter[str] = Counter()
        self._rpc_timeout_s = rpc_timeout_s
        self._on_lost = on_lost
        self._account = account or AccountLimits()
        self._on_event = on_event
        self._background = Group()
        self._runs = TextRuns(self._on_run, lambda it: self.threads.get(it) is not None)
        # Its reader begins only when this greenlet yields, and by then everything below exists.
        self.channel = self._listen(child)
        self.threads = Threads(self.channel, number, rpc_timeout_s, self.counters)
        self._requests = ServerRequests(
            self.threads.get_any, self.threads.cleanup, self.counters, parked_s
        )

    def _listen(self, child: Child) -> Channel:
        return Channel(
            child.socket,
            on_notification=self._on_notification,
            on_request=self._on_request,
            on_close=self._on_close,
            on_oversized=self._on_oversized,
            takes=self._runs.takes,
            on_read=self._runs.flush,
            turns=lambda: len(self.threads),
        )

    @property
    def codex_version(self) -> str:
        """The child's version, as it said in its handshake."""
        return protocol.codex_version(self.user_agent)

    def kill(self) -> None:
        """End the child at once; what runs on it fails when its pipe closes."""
        self._child.kill()

    def spawn_background(self, task: Callable[[], None]) -> None:
        """Run a task in a greenlet for as long as this connection lives."""
        self._background.spawn(task)

    def work(self) -> Work:
        """Return what the child has done so far, and whether it has anything to do."""
        return Work(
            cpu_seconds(self.pid),
            self.threads.begun,
            len(self.threads),
            waited_seconds(self.pid),
            is_heavy=self.threads.calls.heavy.are_felt,
        )

    # Handshake

    def shake_hands(self, version: str, timeout_s: float, silence_log: Callable[[], None]) -> None:
        """`initialize`, `initialized`, and the model list. Blocks; raises `RpcError`, `ProtocolError`."""
        result = self.channel.call("initialize", protocol.initialize_params(version), timeout_s)
        self.user_agent = protocol.parse_user_agent(result)
        self._child.notes["codex_version"] = self.codex_version
        self.channel.notify("initialized")
        self.models = tuple(self._list_models())
        # In a thread: another child may have the database's lock. gevent would print what is raised there.
        guarded: Callable[[], Exception | None] = wrap_errors((sqlite3.Error,), silence_log)
        if error := gevent.get_hub().threadpool.apply(guarded):
            # The log then grows until the next start; no reason to refuse service.
            log.warning("codex_log_not_silenced", exc_info=error)
        if self.channel.is_closed:  # nothing more is asked that would find out
            raise ChannelClosed("The child hung up in its handshake.")

    def _list_models(self) -> list[Model]:
        models: list[Model] = []
        cursor: str | None = None
        for _ in range(_MAX_MODEL_PAGES):
            params = protocol.model_list_params(cursor)
            page, cursor = protocol.parse_models(
                self.channel.call("model/list", params, self._rpc_timeout_s)
            )
            models += page
            if cursor is None:
                break
        return models

    def ask_for_limits(self) -> None:
        """Let the child look up the account's limits, before the first answer tells them. Blocks, cannot fail."""
        # codex itself refuses where there is no ChatGPT login, and needs the network where there is one.
        with suppress(RpcError):
            self._account.update(
                parse_windows(
                    self.channel.call("account/rateLimits/read", None, self._rpc_timeout_s)
                )
            )

    # Its login

    def has_login(self) -> bool:
        """True if codex itself says that it has one, or refuses to say. Blocks; raises `RpcError`."""
        try:
            result = self.channel.call("getAuthStatus", protocol.AUTH_STATUS, self._rpc_timeout_s)
        except CallRefused:
            return True
        return protocol.parse_auth_method(result) is not None

    def renew_login(self) -> None:
        """Let codex renew its login. Blocks as long as that takes; raises `RpcError`."""
        self.channel.call("account/read", protocol.renewal_params(), _RENEWAL_S, is_urgent=True)

    # Notifications: handled in the channel's reader, so nothing here may block

    def _on_notification(self, notification: Notification) -> None:
        if notification.method == UPDATED:
            self._account.update(parse_windows(notification.params))
            return
        if notification.method == protocol.FALLBACK:
            self._on_warning(notification)
            return
        try:
            addressed = parse_event(notification.method, notification.params)
        except ProtocolError as error:
            self._on_unreadable(notification, error)
            return
        if addressed is None:
            self.counters["ignored_notification"] += 1
            return
        thread = self.threads.get(addressed.thread_id)
        if thread is None:
            self._on_event_of_no_turn(addressed)
            return
        event = addressed.event
        if isinstance(event, TextDelta):
            self._runs.learn(addressed, event)
        self._runs.flush_one(addressed.thread_id)
        if not isinstance(event, MessageBegan):  # its first piece tells an observer as much
            thread.turn.observer.notified(notification)
        thread.deliver(self._heard(addressed) if isinstance(event, _TELLING) else addressed)

    def _on_run(self, thread_id: ThreadId, turn_id: TurnId, run: TextRun, size: int) -> None:
        """Give a turn the pieces that came together."""
        thread = self.threads.get(thread_id)
        if thread is None:
            for _ in run.texts:
                self._on_event_of_no_turn(Addressed(thread_id, turn_id, run))
            return
        thread.turn.observer.said(run.texts, size)
        thread.deliver_text(turn_id, run)

    def _on_request(self, request: Request) -> None:
        self._runs.flush()
        self._requests.handle(request, self.channel)

    def _heard(self, addressed: Addressed) -> Addressed:
        """Tell of a failure or an end; return it, an end with when the account's limit starts again."""
        event = addressed.event
        self._on_event(event)
        if not isinstance(event, TurnEnded):
            return addressed
        return addressed._replace(event=with_reset(event, self._account, time.time()))

    def _on_warning(self, notification: Notification) -> None:
        if not protocol.is_fallback(notification.params):
            return
        self.counters["websocket_fallback"] += 1
        now = time.monotonic()
        if self.threads.calls.websockets.note_fallback(now):
            # They have one each, and the request that takes one would have to find out for itself.
            self.threads.ends.unload_warm(self.threads.warm.clear(now))
            log.warning("upstream_websocket_failed")

    def _on_unreadable(self, notification: Notification, error: ProtocolError) -> None:
        self._runs.flush()
        self.counters["protocol_error"] += 1
        log.warning("codex_protocol_error", extra={"field": error.field})
        turn = self._turn_of(ThreadId(str(notification.params.get("threadId"))))
        # An end that cannot be read is an end all the same: nothing more will come.
        if notification.method == "turn/completed" and turn is not None:
            turn.ended.set()
            turn.fail(UpstreamError("The answer ended in a way that this gateway does not know."))

    def _on_event_of_no_turn(self, addressed: Addressed) -> None:
        kept = self.threads.kept.get(addressed.thread_id)
        is_end = isinstance(addressed.event, TurnEnded)
        if is_end:
            self.threads.ends.note_end(addressed.thread_id)
        if kept is not None and is_end:
            self.threads.lose_kept(kept)  # its turn was to go on with results
        elif not (
            kept
            or addressed.thread_id in self.threads.warm
            or self.threads.ends.is_unloading(addressed.thread_id)
        ):
            self.counters["orphan_event"] += 1

    def _on_oversized(self, line: Oversized) -> None:
        """End the turn that has said too much at once. What the child repeats of a history is not missed."""
        self._runs.flush()
        address = parse_address(line.head)
        turn = None if address is None else self._turn_of(address.thread_id)
        if address is None or turn is None or turn.turn_id != address.turn_id:
            return
        if address.method == "turn/completed":
            turn.ended.set()
        turn.fail(too_large())

    def _turn_of(self, thread_id: ThreadId) -> Turn | None:
        thread = self.threads.get(thread_id)
        return None if thread is None else thread.turn

    # The end

    def fail_turns(self, error: GatewayError) -> None:
        """End every open turn from our side."""
        self.threads.fail_turns(error)

    def _on_close(self) -> None:
        self.threads.release_waiters()
        lost = WorkerLost("The codex process went away during the answer.")
        self.threads.fail_turns(lost, has_ended=True)
        self._on_lost(self)

    def retire(self) -> None:
        """Block until no turn is left here: another connection has taken over."""
        self.threads.wait_idle()

    def detach(self) -> None:
        """Fail who still waits and end our greenlets: the child is gone."""
        self._background.kill(block=False)
        self.channel.close()
        self.channel.join(_DETACH_S)
        self.threads.cleanup.join(_DETACH_S)

    def __repr__(self) -> str:
        return (
            f"<Connection {self.number} pid={self.pid} turns={len(self.threads)} {self.channel!r}>"
        )
