"""Channel for JSON-RPC calls, answers and notifications over one socket shared by every request of this worker.

One *writer* greenlet owns the sending side, so that a deadline can never tear a line in two. One *reader* greenlet
drains the receiving side to its end, batch by batch, and yields after each so that a burst starves no other greenlet.
Callers only enqueue whole lines and wait for their own answer.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import gevent
from gevent import getcurrent, socket
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.socket import wait

from app.alarms import Alarms
from app.log_limiter import LogRateLimiter
from app.pause import pause
from app.rpc import messages
from app.rpc.calls import (
    Call,
    CallObserver,
    CallReport,
    LateResultHandler,
    ignore_call,
    ignore_late_result,
)
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, ChannelFull
from app.rpc.messages import (
    ErrorResponse,
    Malformed,
    Notification,
    Oversized,
    Request,
    Response,
)
from app.rpc.outbox import Outbox
from app.rpc.read_pace import GATHER_S, ReadPace
from app.step_log import is_logged, passed

log = logging.getLogger("codex_api.rpc")

MAX_INFLIGHT = 56
"""Callers that wait, each for one answer or two: app-server's ingress queue holds 128, and part of its overload answers
never arrives."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Parsing one takes the whole worker some 20 ms. An answer of 128,000 tokens is below 1 MB."""

_READ_BYTES = 64 * 1024
_SKIPPED_BYTES = 1024 * 1024
"""Read at once of a line that is dropped: it holds up what the child says of other turns, and costs next to nothing."""


_Waiter: TypeAlias = "AsyncResult[Response | ErrorResponse]"


def _end_report(report: CallReport, observer: CallObserver) -> None:
    """Give the report of a call to `observer` when the call is over, however it ended."""
    report.ended = report.ended or time.monotonic()
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
    the reader: they must not block. So do `takes`, which is shown each line and returns True for one that is not to be
    parsed, and `on_read`, after the lines of one read. `on_close` runs once, after every waiter has failed. `turns` is
    how many run. `counters` counts what is odd: unknown ids, malformed lines.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_notification: Callable[[Notification], None],
        on_request: Callable[[Request], None],
        on_close: Callable[[], None],
        on_oversized: Callable[[Oversized], None] = lambda _: None,
        takes: Callable[[bytes], bool] = lambda _: False,
        on_read: Callable[[], None] = lambda: None,
        turns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._sock = sock
        self._on_notification = on_notification
        self._on_request = on_request
        self._on_close = on_close
        self._on_oversized = on_oversized
        self._takes = takes
        self._on_read = on_read
        self._turns = turns
        self._ids = itertools.count(1)
        self._pending: dict[messages.MessageId, _Waiter] = {}
        self._late: dict[messages.MessageId, LateResultHandler] = {}
        self._slots = Semaphore(MAX_INFLIGHT)
        self._outbox = Outbox()
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

        `observer` is told what became of it, `on_late` is given a result for which nobody waits: see `Call`. An urgent
        call waits for no slot: there must never be many of them. Hold no lock while calling.
        Raises `CallRefused`, `CallTimeout`, `ChannelClosed`, `ChannelFull`.
        """
        calls = (Call(method, params, observer, on_late),)
        return self.call_in_order(calls, timeout_s, is_urgent=is_urgent)[0]

    def call_in_order(
        self, calls: Sequence[Call], timeout_s: float, *, is_urgent: bool = False
    ) -> list[Any]:
        """Send one or two requests in one write; block until the result of each, in their order. See `call`.

        The child takes them in this order, and the second whatever became of the first: a result of the second is late
        once the first was refused.
        """
        reports = [CallReport(call.method, call.params) for call in calls]
        names = " and ".join(call.method for call in calls)
        alarm = self._alarms.set(timeout_s, partial(_time_out, getcurrent(), names, timeout_s))
        try:
            if is_urgent:
                return self._call(calls, reports)
            with self._slots:
                return self._call(calls, reports)
        finally:
            alarm.cancel()
            for call, report in zip(calls, reports, strict=True):
                _end_report(report, call.observer)

    def _call(self, calls: Sequence[Call], reports: Sequence[CallReport]) -> list[Any]:
        lines: list[bytes] = []
        waiters: dict[messages.MessageId, _Waiter] = {}
        for call, report in zip(calls, reports, strict=True):
            message_id: messages.MessageId = next(self._ids)
            pieces = messages.encode_request(message_id, call.method, call.params)
            lines.append(b"".join(_with_pauses(pieces)))
            report.sent = len(lines[-1])
            waiters[message_id] = AsyncResult()
        self._enqueue(b"".join(lines))
        self._pending.update(waiters)  # the writer only runs once this greenlet waits
        results: list[Any] = []
        try:
            self._await_all(waiters.values(), reports, results)
        finally:
            unused = zip(calls, waiters.items(), strict=True)
            for call, (message_id, waiter) in list(unused)[len(results) :]:
                self._leave(call, message_id, waiter)
        return results

    def _await_all(
        self, waiters: Iterable[_Waiter], reports: Sequence[CallReport], results: list[Any]
    ) -> None:
        """Add to `results` what the child answers. Raises `CallTimeout` for one that has not come by the deadline."""
        over: CallTimeout | None = None  # the alarm rings once, for all of them
        for waiter, report in zip(waiters, reports, strict=True):
            try:
                answer = waiter.get(block=over is None)
            except CallTimeout as error:
                if not waiter.ready():
                    raise
                # It has come, and only the loop was too busy to hand it on: what it tells of would be lost.
                over, answer = error, waiter.get()
            except gevent.Timeout:
                if over is None:  # the caller's own
                    raise
                raise over from None
            results.append(_result(cast("Response | ErrorResponse", answer), report))

    def _leave(self, call: Call, message_id: messages.MessageId, waiter: _Waiter) -> None:
        """Have a call's result given to its `on_late`, as nobody waits for it any more."""
        if self._pending.pop(message_id, None) is not None:
            self._late[message_id] = call.on_late
        elif waiter.successful() and isinstance(waiter.value, Response):
            try:
                call.on_late(waiter.value.result)
            # Of a result that makes no sense the caller, who has an error of its own, need not know.
            except Exception as error:  # noqa: BLE001
                self._note_failure(error, "late result")

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
                self._take(splitter.feed(data))
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

    def _take(self, lines: Iterable[bytes | Oversized]) -> None:
        """Handle the lines of one read."""
        for line in lines:
            if isinstance(line, Oversized):
                self._dispatch(line)
                continue
            try:
                is_taken = self._takes(line)
            # One bad line must not end the conversation of every other request.
            except Exception as error:  # noqa: BLE001
                self._note_failure(error, "line")
                continue
            if not is_taken:
                self._dispatch(messages.parse_line(line))
        try:
            self._on_read()
        # Nor must a defect at the end of a read.
        except Exception as error:  # noqa: BLE001
            self._note_failure(error, "read")

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
        except Exception as error:  # noqa: BLE001
            self._note_failure(error, type(message).__name__)

    def _note_failure(self, error: Exception, kind: str) -> None:
        self.counters["dispatch_failed"] += 1
        log.error("rpc_dispatch_failed", extra={"kind": kind}, exc_info=error)

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


def _result(answer: Response | ErrorResponse, report: CallReport) -> Any:
    """Return the result of a call. Raises `CallRefused`."""
    report.answered(answer)
    if isinstance(answer, ErrorResponse):
        raise CallRefused(report.method, answer.code, answer.message)
    return answer.result


def _time_out(caller: Any, method: str, timeout_s: float) -> None:
    """Raise in the greenlet of a caller that its time is over."""
    caller.throw(CallTimeout(f"{method} got no answer in {timeout_s:g} s"))


def _with_pauses(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a line, and let other greenlets run between those of a long one."""
    for number, piece in enumerate(pieces):
        if number > 1:  # a short line has one piece and its end
            pause()
        yield piece
