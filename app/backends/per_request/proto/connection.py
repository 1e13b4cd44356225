"""Connection to one `codex proto`: its lines, read to their end, and its one turn.

A submission is written by a greenlet of its own, so that nobody waits for a process that does not read; what becomes of
it is seen by the turn, which has deadlines.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import gevent
from gevent.event import Event as Flag
from gevent.pool import Group

from app.backend.events import TurnEnded
from app.backend.lease import Lease
from app.backend.observer import TurnObserver
from app.backend.request import Model, TurnRequest
from app.backends.app_server.parse_events import ProtocolError, ThreadId, TurnId
from app.backends.app_server.turn import Turn, too_large
from app.backends.app_server.watchdog import HealthLimits, HealthProblem
from app.backends.per_request.dialect import Surroundings
from app.backends.per_request.proto import config, prompt
from app.backends.per_request.proto.parse_events import (
    TurnEvents,
    parse_line,
    parse_session,
    parse_windows,
)
from app.budget import Reservation
from app.codex.account import with_reset
from app.codex.auth_file import LoginMark
from app.errors import GatewayError, UpstreamError, WorkerLost
from app.json_text import pieces
from app.pause import pause
from app.process.child import Child
from app.process.memory import resident_bytes
from app.rpc.channel import MAX_LINE_BYTES
from app.rpc.errors import CallTimeout, ChannelClosed
from app.rpc.messages import LineSplitter, Oversized

log = logging.getLogger("codex_api.codex")

_READ_BYTES = 64 * 1024
_DETACH_S = 1.0
_FAREWELL_S = 1.0
_ASK, _INTERRUPT, _SHUTDOWN = "1", "2", "3"
"""Ids of submissions. Events have the one that they belong to; there is one turn."""


class ProtoConnection:
    """See `app.backends.per_request.dialect.Connection`."""

    def __init__(
        self,
        number: int,
        child: Child,
        login: LoginMark | None,
        shared: Surroundings,
        *,
        version: str,
        models: tuple[Model, ...],
        renew: Callable[[], None],
    ) -> None:
        self.login = login
        self.is_renewing = False
        self.user_agent = f"codex_proto/{version}"
        self.codex_version = version
        self.models = models
        self.oddities: Counter[str] = Counter()
        self._renew = renew
        self._number = number
        self._child = child
        self._shared = shared
        self._session = ""
        self._turn: Turn | None = None
        self._is_asked = False
        self._events = TurnEvents("")
        self._held: Reservation | None = None
        self._is_greeted, self._is_idle, self._is_gone = Flag(), Flag(), Flag()
        self._is_idle.set()
        self._began = time.monotonic()
        self._background = Group()
        self._reader = gevent.spawn(self._read)

    @property
    def is_closed(self) -> bool:
        """True once its output has ended."""
        return self._is_gone.is_set()

    @property
    def has_turn(self) -> bool:
        """True while a turn runs on it."""
        return not self._is_idle.is_set()

    # Beginning

    def handshake(self, timeout_s: float) -> None:
        """Wait until its session is configured. Blocks; raises `ChannelClosed`, `CallTimeout`."""
        gevent.wait([self._is_greeted, self._is_gone], timeout_s, count=1)
        if self.is_closed:
            raise ChannelClosed("the process ended before its session was configured")
        if not self._is_greeted.is_set():
            raise CallTimeout(f"no session was configured in {timeout_s:g} s")
        self._child.notes["codex_version"] = self.codex_version

    def has_login(self) -> bool:
        """Return True: it cannot be asked."""
        return True

    def renew_login(self) -> None:
        """Have the login renewed, for those that are started later. Blocks; raises `RpcError`."""
        self._renew()

    def begin(
        self, request: TurnRequest, lease: Lease, new_observer: Callable[[], TurnObserver]
    ) -> Turn:
        """Begin the turn. Yields while it writes down a long conversation; raises `InvalidRequest`, `WorkerBusy`."""
        lines: list[str] = []
        for line in prompt.render(request.items):
            lines.append(line)
            pause()
        self._held = self._shared.histories.reserve(lease.owner, sum(map(len, lines)))
        if self.is_closed:
            self._held.release()
            raise ChannelClosed("the process ended before its turn")
        self._is_idle.clear()
        self._events = TurnEvents(self._session.replace("-", ""))
        turn = Turn(
            ThreadId(self._session),
            self._number,
            self._on_given_back,
            observer=new_observer(),
            lease=lease,
        )
        self._turn = turn
        turn.begin(TurnId(_ASK))
        self._background.spawn(self._ask, request, lines)
        return turn

    def _ask(self, request: TurnRequest, lines: Sequence[str]) -> None:
        asked = {"id": _ASK, "op": config.user_turn(request, lines)}
        try:
            for piece in pieces(asked):
                self._child.socket.sendall(piece)
                pause()
            self._child.socket.sendall(b"\n")
            self._is_asked = True
        except OSError:  # its output ends, too
            self.oddities["write_failed"] += 1

    # The reader: never blocks but for what comes next

    def _read(self) -> None:
        splitter = LineSplitter(MAX_LINE_BYTES)
        try:
            while data := self._child.socket.recv(_READ_BYTES):
                for line in splitter.feed(data):
                    self._take(line)
                pause()
        except OSError:
            self.oddities["read_failed"] += 1
        finally:
            self._on_gone()

    def _take(self, line: bytes | Oversized) -> None:
        if isinstance(line, Oversized):
            self.oddities["oversized"] += 1
            self.fail_turns(too_large())
            return
        try:
            self._on_message(*parse_line(line))
        except ProtocolError as error:
            self.oddities["protocol_error"] += 1
            log.warning("codex_protocol_error", extra={"field": error.field})
            self.fail_turns(
                UpstreamError(
                    "The codex process answered in a way that this gateway does not know."
                )
            )

    def _on_message(self, submission: str, message: dict[str, object]) -> None:
        if message.get("type") == "session_configured":
            self._session = parse_session(message)
            self._is_greeted.set()
        now = time.time()
        self._shared.account.update(parse_windows(message, now))
        if self._turn is None or submission != _ASK:
            return
        for event in self._events.parse(message):
            self._shared.on_event(event)
            told = (
                with_reset(event, self._shared.account, now)
                if isinstance(event, TurnEnded)
                else event
            )
            self._turn.deliver(TurnId(_ASK), told)

    # Ending

    def _on_given_back(self, turn: Turn) -> None:
        """Take the turn back; one that still runs is told to stop, and its process ends it for certain."""
        if turn.ended.is_set():
            turn.lease.turn_finished()
        self._is_idle.set()

    def retire(self) -> None:
        """Block until its turn is over, or it is gone; then ask it to exit, which the end of its input does not."""
        gevent.wait([self._is_idle, self._is_gone], count=1)
        if self._turn is not None and not self._is_asked:
            self._child.kill()  # in the middle of the question, it has done nothing that could be lost
            return
        lines = config.submission(_INTERRUPT, "interrupt") + config.submission(
            _SHUTDOWN, "shutdown"
        )
        with suppress(OSError, CallTimeout), gevent.Timeout(_FAREWELL_S, CallTimeout()):
            self._child.socket.sendall(lines)

    def _on_gone(self) -> None:
        self._is_gone.set()
        turn, held = self._turn, self._held
        if held is not None:
            held.release()
        if turn is not None:
            turn.ended.set()
            turn.fail(WorkerLost("The codex process went away during the answer."))
            turn.lease.turn_finished()
            turn.observer.closed(turn.facts)

    def fail_turns(self, error: GatewayError) -> None:
        """End its turn from our side."""
        if self._turn is not None:
            self._turn.fail(error)

    def detach(self) -> None:
        """Wait a moment for the end of its output, and end our greenlets: the process is gone."""
        self._background.kill(block=False)
        self._reader.join(_DETACH_S)
        self._reader.kill()

    # While it lives

    def spawn_background(self, task: Callable[[], None]) -> None:
        """Run a task in a greenlet for as long as this connection lives."""
        self._background.spawn(task)

    def watch(
        self,
        limits: HealthLimits,
        on_problem: Callable[[HealthProblem], None],
        is_spared: Callable[[], bool],
    ) -> None:
        """Look at its memory until it is gone: it answers no question, and a turn that is silent has deadlines."""
        while not self._is_gone.wait(limits.interval_s):
            problem = limits.check_memory(
                resident_bytes(self._child.pid), time.monotonic() - self._began
            )
            if problem is not None:
                on_problem(problem)

    def __repr__(self) -> str:
        return f"<ProtoConnection {self._number} pid={self._child.pid} turn={self._turn!r}>"
