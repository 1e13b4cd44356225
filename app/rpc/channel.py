"""Channel for JSON-RPC calls, answers and notifications over one socket shared by every request of this worker.

One *writer* greenlet owns the sending side, so that a deadline can never tear a line in two. One *reader* greenlet
drains the receiving side to its end, batch by batch, and yields after each so that a burst starves no other greenlet.
Callers only enqueue whole lines and wait for their own answer.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import gevent
from gevent import getcurrent, socket
from gevent.event import AsyncResult, Event
from gevent.lock import RLock, Semaphore
from gevent.socket import wait

from app.alarms import Alarms
from app.log_limiter import LogRateLimiter
from app.pause import pause
from app.rpc import messages
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, ChannelFull
from app.rpc.messages import (
    ErrorResponse,
    Malformed,
    Notification,
    Oversized,
    Request,
    Response,
)
from app.rpc.read_pace import GATHER_S, ReadPace
from app.step_log import is_logged, passed

log = logging.getLogger("codex_api.rpc")

MAX_INFLIGHT = 64
"""Calls awaiting an answer. app-server's ingress queue holds 128, and part of its overload answers never arrives."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Parsing one takes the whole worker some 20 ms. An answer of 128,000 tokens is below 1 MB."""

MAX_OUTBOX_BYTES = 256 * 1024 * 1024
_READ_BYTES = 64 * 1024
_SKIPPED_BYTES = 1024 * 1024
"""Read at once of a line that is dropped: it holds up what the child says of other turns, and costs next to nothing."""


@dataclass(slots=True)
class CallReport:
    """One call. Times are monotonic seconds, sizes are bytes of the whole line.

    `status` is `ok`, `refused` (the child answered with an error), or `failed` (no answer came).
    """

    method: str
    params: object
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    sent: int = 0
    received: int = 0
    status: str = "failed"

    def answered(self, answer: Response | ErrorResponse) -> None:
        """Note the child's answer."""
        self.received = answer.size
        self.status = "ok" if isinstance(answer, Response) else "refused"

    def include(self, part: CallReport) -> None:
        """Add another report, of a part of this call."""
        self.ended, self.status = part.ended, part.status
        self.sent += part.sent
        self.received += part.received


CallObserver = Callable[[CallReport], None]
LateResultHandler = Callable[[Any], None]
"""Takes a result that came after its deadline."""


def ignore_call(report: CallReport) -> None:
    """Observe nothing."""


def ignore_late_result(result: object) -> None:
    """Make nothing of a result that came after its deadline."""


def _end_report(report: CallReport, observer: CallObserver) -> None:
    """Give the report of a call to `observer` when the call is over, however it ended."""
    report.ended = time.monotonic()
    if is_logged():
        params = report.params
        passed(
            "rpc.call",
            method=report.method,
            thread_id=params.get("threadId") if isinstance(params, Mapping) else None,
            outcome=report.status,
            sent_bytes=report.sent,
            received_bytes=report.received,
            took_ms=round((report.ended - report.started) * 1000, 3),
        )
    observer(report)


class Channel:
    """One conversation with one child. Safe to use from any greenlet of the worker.

    `on_notification`, `on_request` and `on_oversized` (a line of more than `MAX_LINE_BYTES`, which is not read) run in
    the reader: they must not block. Lines for which `is_noise` is true are not even parsed. `on_close` runs once, after
    every waiter has failed. `turns` is how many run. `counters` counts what is odd: unknown ids, malformed lines.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_notification: Callable[[Notification], None],
        on_request: Callable[[Request], None],
        on_close: Callable[[], None],
        on_oversized: Callable[[Oversized], None] = lambda _: None,
        is_noise: Callable[[bytes], bool] = lambda _: False,
        turns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._sock = sock
        self._on_notification = on_notification
        self._on_request = on_request
        self._on_close = on_close
        self._on_oversized = on_oversized
        self._is_noise = is_noise
        self._turns = turns
        self._ids = itertools.count(1)
        self._pending: dict[messages.MessageId, AsyncResult[Response | ErrorResponse]] = {}
        self._late: dict[messages.MessageId, LateResultHandler] = {}
        self._slots = Semaphore(MAX_INFLIGHT)
        self._outbox = _Outbox()
        self._alarms = Alarms()
        self._pace = ReadPace()
        self.received_bytes = 0
        """Bytes that have come from the child: as long as this grows, it is alive."""
        self.counters: Counter[str] = Counter()
        self._log_limiter = LogRateLimiter()
        self._greenlets = [gevent.spawn(self._write_loop), gevent.spawn(self._read_loop)]

    @property
    def is_closed(self) -> bool:
        """True once the child's end is gone or `close` was called."""
        return self._outbox.is_closed

    # Calling the child

    def call(
        self,
        method: str,
        params: object,
        timeout_s: float,
        observer: CallObserver = ignore_call,
        *,
        is_urgent: bool = False,
        on_late: LateResultHandler = ignore_late_result,
    ) -> Any:
        """Send one request and block until its result; the deadline covers the wait for a slot as well.

        `observer` is told what became of it; `on_late` is given a result that comes after the deadline, in the reader:
        it must not block. An urgent call waits for no slot: there must never be many of them.
        Raises `CallRefused`, `CallTimeout`, `ChannelClosed`, `ChannelFull`. Hold no lock while calling.
        """
        report = CallReport(method, params)
        alarm = self._alarms.set(timeout_s, partial(_time_out, getcurrent(), method, timeout_s))
        try:
            if is_urgent:
                return self._call(method, params, report, on_late)
            with self._slots:
                return self._call(method, params, report, on_late)
        finally:
            alarm.cancel()
            _end_report(report, observer)

    def _call(
        self, method: str, params: object, report: CallReport, on_late: LateResultHandler
    ) -> Any:
        message_id = next(self._ids)
        line = b"".join(_with_pauses(messages.encode_request(message_id, method, params)))
        report.sent = len(line)
        waiter: AsyncResult[Response | ErrorResponse] = AsyncResult()
        self._pending[message_id] = waiter
        try:
            self._enqueue(line)
            answer = cast("Response | ErrorResponse", waiter.get())
        except CallTimeout:
            if not waiter.ready():
                self._late[message_id] = on_late
                raise
            # It has come, and only the loop was too busy to hand it on: what it tells of would be lost.
            answer = cast("Response | ErrorResponse", waiter.get())
        finally:
            self._pending.pop(message_id, None)
        report.answered(answer)
        if isinstance(answer, ErrorResponse):
            raise CallRefused(method, answer.code, answer.message)
        return answer.result

    def notify(self, method: str) -> None:
        """Send a notification without parameters. Raises `ChannelClosed`."""
        self._enqueue(messages.encode_notification(method))

    def answer(self, request: Request, result: object) -> None:
        """Answer a server request; nothing happens if the channel has closed meanwhile."""
        self._answer(messages.encode_result(request.id, result))

    def refuse(self, request: Request, code: int, message: str) -> None:
        """Refuse a server request; nothing happens if the channel has closed meanwhile."""
        self._answer(messages.encode_error(request.id, code, message))

    def _answer(self, line: bytes) -> None:
        try:
            self._enqueue(line)
        except ChannelClosed:
            self.counters["answer_after_close"] += 1
        except ChannelFull:
            # The other end reads nothing any more, and a request of its that stays unanswered hangs its turn for ever.
            self._shut("outbox_full")

    def close(self) -> None:
        """Fail every waiter and stop writing. The reader goes on draining until the child's end is closed."""
        self._shut("closed")

    # The writer

    def _enqueue(self, line: bytes) -> None:
        if self.is_closed:
            raise ChannelClosed("the channel is closed")
        if not self._outbox.put(line):
            self.counters["outbox_full"] += 1
            raise ChannelFull("too much waits to be sent")

    def _write_loop(self) -> None:
        try:
            while not self.is_closed:
                self._outbox.wait()
                if batch := self._outbox.take():
                    self._sock.sendall(b"".join(batch) if len(batch) > 1 else batch[0])
        except OSError:
            # A write that fails must fail its caller, not only the log.
            self._shut("write_failed")

    # The reader

    def _read_loop(self) -> None:
        splitter = messages.LineSplitter(MAX_LINE_BYTES)
        try:
            while data := self._receive(_SKIPPED_BYTES if splitter.is_dropping else _READ_BYTES):
                self.received_bytes += len(data)
                if is_logged():
                    passed("rpc.received", received_bytes=len(data))
                for line in splitter.feed(data):
                    if isinstance(line, Oversized):
                        self._dispatch(line)
                    elif not self._is_noise(line):
                        self._dispatch(messages.parse_line(line))
        except OSError:
            self.counters["read_failed"] += 1
        finally:
            self._shut("eof")

    def _receive(self, most: int) -> bytes:
        """Return what has come, nothing at its end. Always lets the loop go round once: a burst would starve others."""
        own: Any = self._sock
        if self._pace.is_close:
            gevent.sleep(GATHER_S)
        # recv alone asks the kernel first, and yields only where nothing is there. One that was closed tells it itself.
        elif (readable := own._read_event) is not None:  # noqa: SLF001  (gevent's, which its close wakes)
            wait(readable)
        data: bytes = own.recv(most)
        self._pace.note(time.monotonic(), self._turns(), is_all=len(data) < most)
        return data

    def _dispatch(self, message: messages.Message) -> None:
        try:
            match message:
                case Notification():
                    self._on_notification(message)
                case Response() | ErrorResponse():
                    self._resolve(message)
                case Request():
                    self._on_request(message)
                case Malformed():
                    self._note_malformed(message)
                case Oversized():
                    self.counters["oversized"] += 1
                    self._on_oversized(message)
        # One bad message must not end the conversation of every other request.
        except Exception:
            self.counters["dispatch_failed"] += 1
            log.exception("rpc_dispatch_failed", extra={"kind": type(message).__name__})

    def _note_malformed(self, message: Malformed) -> None:
        self.counters["malformed"] += 1
        withheld = self._log_limiter.allow(message.reason)
        if withheld is not None:
            fields = {"size": message.size, "reason": message.reason, "withheld": withheld}
            log.warning("rpc_malformed_line", extra=fields)

    def _resolve(self, answer: Response | ErrorResponse) -> None:
        waiter = self._pending.pop(answer.id, None)
        if waiter is None:  # its caller gave up before
            self.counters["unknown_id"] += 1
            on_late = self._late.pop(answer.id, ignore_late_result)
            if isinstance(answer, Response):
                on_late(answer.result)
        else:
            waiter.set(answer)

    def _shut(self, why: str) -> None:
        if not self._outbox.close():
            return
        waiters = list(self._pending.values())
        self._pending.clear()
        log.info("rpc_channel_closed", extra={"reason": why, "waiters": len(waiters)})
        for waiter in waiters:
            waiter.set_exception(ChannelClosed("the channel was closed during the call"))
        self._on_close()

    def join(self, timeout_s: float) -> None:
        """Block until reader and writer have ended, or the time is up; then end them."""
        gevent.joinall(self._greenlets, timeout=timeout_s)
        gevent.killall(self._greenlets)

    def __repr__(self) -> str:
        state = "CLOSED" if self.is_closed else "OPEN"
        return f"<Channel {state} pending={len(self._pending)} outbox={self._outbox.size}B>"


def _time_out(caller: Any, method: str, timeout_s: float) -> None:
    """Raise in the greenlet of a caller that its time is over."""
    caller.throw(CallTimeout(f"{method} got no answer in {timeout_s:g} s"))


def _with_pauses(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a line, and let other greenlets run between those of a long one."""
    for number, piece in enumerate(pieces):
        if number > 1:  # a short line has one piece and its end
            pause()
        yield piece


class _Outbox:
    """Whole lines on their way to the peer: put in by any greenlet, taken out by the one writer. Only `wait` blocks."""

    def __init__(self) -> None:
        self._lock = RLock()  # guards everything below; held for no I/O
        self._lines: deque[bytes] = deque()
        self._has_lines = Event()
        self._is_closed = False
        self.size = 0
        """Bytes that wait."""

    @property
    def is_closed(self) -> bool:
        """True once nothing more is taken."""
        return self._is_closed

    def put(self, line: bytes) -> bool:
        """Add a line; False if it would be more than `MAX_OUTBOX_BYTES`. Not to be called once closed."""
        with self._lock:
            if self.size + len(line) > MAX_OUTBOX_BYTES:
                return False
            self._lines.append(line)
            self.size += len(line)
        self._has_lines.set()
        return True

    def take(self) -> list[bytes]:
        """Return everything that waits."""
        with self._lock:
            batch = list(self._lines)
            self._lines.clear()
            self.size = 0
            self._has_lines.clear()
        return batch

    def wait(self) -> None:
        """Block until there is a line, or the outbox is closed."""
        self._has_lines.wait()

    def close(self) -> bool:
        """Take no more lines and wake the writer; True the first time."""
        with self._lock:
            if self._is_closed:
                return False
            self._is_closed = True
        self._has_lines.set()
        return True
