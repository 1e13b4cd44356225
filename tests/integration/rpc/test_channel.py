"""The channel against a scripted peer, over a real pair of sockets."""

from __future__ import annotations

import fcntl
import logging
import random
import struct
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
import orjson
import pytest
from gevent import socket
from gevent.event import Event

from app.rpc.calls import Call, CallReport
from app.rpc.channel import MAX_INFLIGHT, MAX_LINE_BYTES, Channel
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, ChannelFull
from app.rpc.messages import Notification, Oversized, Request
from app.rpc.outbox import MAX_OUTBOX_BYTES
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, outcome, result

READ_BYTES = 64 * 1024
SHORT_S = 0.05
ENCODED_S = 2.0  # enough to write 8 MB as JSON, on any machine
CANARY = "canary-in-the-line"
NOISE = b"noise"
BAD_LINE = b"cannot be looked at"


class Peer:
    """The child's end of the pipe, in the hands of the test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def read_line(self) -> bytes:
        with deadline():
            while b"\n" not in self._buffer:
                piece = self.sock.recv(1 << 20)
                assert piece, "the channel hung up"
                self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def read(self) -> Any:
        return orjson.loads(self.read_line())

    def send(self, *messages: object) -> None:
        self.send_bytes(b"".join(orjson.dumps(message) + b"\n" for message in messages))

    def send_bytes(self, data: bytes) -> None:
        with deadline():
            self.sock.sendall(data)

    def say(self, method: str) -> None:
        self.send({"method": method, "params": {}})

    def reply(self, request: Any, value: object = "ok") -> None:
        self.send({"id": request["id"], "result": value})


def be_busy(_told: Notification) -> None:
    """Hold up the loop before it hands on what has come, until a short deadline is over."""
    loop = gevent.get_hub().loop
    loop.run_callback(time.sleep, 4 * SHORT_S)
    for _ in range(2000):  # after a thousand it looks at its timers
        loop.run_callback(lambda: None)


class Bench:
    """A channel, its peer, and everything that the channel told us."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.peer = Peer(theirs)
        self.notifications: list[Notification] = []
        self.requests: list[Request] = []
        self.oversized: list[Oversized] = []
        self.closings = 0
        self.closed = Event()
        self.act_on_notification: Callable[[Notification], None] = lambda _: None
        self.act_on_close: Callable[[], None] = lambda: None
        self.act_on_read: Callable[[], None] = lambda: None
        self.channel = Channel(
            self.ours,
            on_notification=self._hear,
            on_request=self.requests.append,
            on_close=self._close,
            on_oversized=self.oversized.append,
            takes=self._take,
            on_read=self._end_read,
        )

    def _hear(self, notification: Notification) -> None:
        self.notifications.append(notification)
        self.act_on_notification(notification)

    def _take(self, line: bytes) -> bool:
        if BAD_LINE in line:
            raise ValueError
        return NOISE in line

    def _end_read(self) -> None:
        self.act_on_read()

    def _close(self) -> None:
        self.closings += 1
        self.act_on_close()
        self.closed.set()

    @property
    def methods(self) -> list[str]:
        return [notification.method for notification in self.notifications]

    def hear(self, *methods: str) -> None:
        """Wait until exactly these notifications have come."""
        eventually(lambda: len(self.methods) >= len(methods), lambda: str(self.methods))
        assert self.methods == list(methods)

    def call(self, method: str, params: object = None, timeout_s: float = DEADLINE_S) -> Any:
        return in_background(self.channel.call, method, params, timeout_s)

    def unread(self) -> int:
        """Bytes that the channel has not taken from its socket yet."""
        answer = fcntl.ioctl(self.ours.fileno(), termios.FIONREAD, b"\0" * 4)
        return int(struct.unpack("i", answer)[0])

    def end(self) -> None:
        self.channel.close()
        self.peer.sock.close()
        self.channel.join(DEADLINE_S)
        self.ours.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.end()


@pytest.fixture
def peer(bench: Bench) -> Peer:
    return bench.peer


# Calls and answers


def test_a_call_returns_its_result(bench: Bench, peer: Peer) -> None:
    calling = bench.call("thread/start", {"text": "Grüße ✓"})
    request = peer.read()
    assert (request["method"], request["params"]) == ("thread/start", {"text": "Grüße ✓"})
    peer.reply(request, {"thread": "Grüße ✓"})
    assert result(calling) == {"thread": "Grüße ✓"}


def test_answers_may_come_out_of_order(bench: Bench, peer: Peer) -> None:
    calls = [bench.call("m", n) for n in range(3)]
    requests = [peer.read() for _ in calls]
    for request in reversed(requests):
        peer.reply(request, request["params"] * 10)
    assert [result(call) for call in calls] == [0, 10, 20]


def test_a_refusal_is_an_rpc_error_with_its_code(bench: Bench, peer: Peer) -> None:
    calling = bench.call("turn/interrupt")
    refusal = {"code": -32600, "message": "no active turn to interrupt"}
    peer.send({"id": peer.read()["id"], "error": refusal})
    error = result(calling)
    assert isinstance(error, CallRefused)
    assert (error.method, error.code) == ("turn/interrupt", -32600)
    assert error.reason == "no active turn to interrupt"
    assert error.reason == "no active turn to interrupt"


def test_many_callers_each_get_their_own_answer(bench: Bench, peer: Peer) -> None:
    calls = [bench.call("m", n) for n in range(300)]
    order = random.Random(7)

    def answer_in_any_order() -> None:
        waiting: list[Any] = []
        for seen in range(1, len(calls) + 1):
            waiting.append(peer.read())
            if len(waiting) == MAX_INFLIGHT // 2 or seen == len(calls):
                order.shuffle(waiting)
                peer.send(*({"id": one["id"], "result": {"for": one["params"]}} for one in waiting))
                waiting.clear()

    answering = in_background(answer_in_any_order)
    assert [result(call) for call in calls] == [{"for": n} for n in range(300)]
    assert result(answering) is None


def test_a_notification_is_one_line(bench: Bench, peer: Peer) -> None:
    bench.channel.notify("initialized")
    assert peer.read() == {"method": "initialized"}


def test_params_that_are_no_json_harm_nobody_else(bench: Bench, peer: Peer) -> None:
    assert isinstance(result(bench.call("m", "\ud800")), orjson.JSONEncodeError)
    calling = bench.call("m")
    peer.reply(peer.read())
    assert result(calling) == "ok"


# Deadlines


def test_a_call_without_an_answer_times_out(bench: Bench, peer: Peer) -> None:
    error = result(bench.call("m", timeout_s=SHORT_S))
    assert isinstance(error, CallTimeout)
    assert str(error) == f"m got no answer in {SHORT_S:g} s"
    assert peer.read()["method"] == "m"


def test_an_answer_after_the_deadline_is_counted_and_dropped(bench: Bench, peer: Peer) -> None:
    assert isinstance(result(bench.call("m", timeout_s=SHORT_S)), CallTimeout)
    peer.reply(peer.read(), "too late")
    calling = bench.call("m")
    peer.reply(peer.read(), "in time")
    assert result(calling) == "in time"
    assert bench.channel.counters == {"unknown_id": 1}


def test_an_answer_that_has_come_is_in_time_however_late_it_is_seen(
    bench: Bench, peer: Peer
) -> None:
    late: list[object] = []

    bench.act_on_notification = be_busy
    calling = in_background(partial(bench.channel.call, on_late=late.append), "m", None, SHORT_S)
    request = peer.read()
    peer.send({"method": "busy", "params": {}}, {"id": request["id"], "result": "ok"})
    assert result(calling) == "ok"
    assert late == []


def test_a_deadline_never_tears_the_line_that_is_being_written(bench: Bench, peer: Peer) -> None:
    text = "x" * (8 << 20)  # more than a socket takes at once
    big = bench.call("big", text, ENCODED_S)
    with deadline():
        socket.wait_read(peer.sock.fileno())  # the writer has begun, and nobody reads on
    behind = bench.call("behind", "y" * 1000, SHORT_S)
    assert isinstance(result(big), CallTimeout)
    assert isinstance(result(behind), CallTimeout)
    after = bench.call("after")
    assert [peer.read()["params"], peer.read()["params"]] == [text, "y" * 1000]
    request = peer.read()
    assert request["method"] == "after"
    peer.reply(request)
    assert result(after) == "ok"


# Calls that go out together


class Pair:
    """Two calls in one write, and what came of the second after nobody waited for it."""

    def __init__(
        self,
        bench: Bench,
        timeout_s: float = DEADLINE_S,
        on_late: Callable[[object], None] | None = None,
    ) -> None:
        self.late: list[object] = []
        self._reports: list[CallReport] = []
        calls = [
            Call(name, name.upper(), self._reports.append, on_late=on_late or self.late.append)
            for name in ("one", "two")
        ]
        self.calling = in_background(bench.channel.call_in_order, calls, timeout_s)

    @property
    def reports(self) -> list[tuple[str, str]]:
        return [(report.method, report.status) for report in self._reports]

    def ended(self, method: str) -> float:
        return max((one.ended for one in self._reports if one.method == method), default=0.0)


def test_two_calls_in_one_write_return_both_results(bench: Bench, peer: Peer) -> None:
    pair = Pair(bench)
    one, two = peer.read(), peer.read()
    assert (one["method"], two["method"]) == ("one", "two")
    assert (one["params"], two["params"]) == ("ONE", "TWO")
    peer.send({"id": two["id"], "result": 2}, {"id": one["id"], "result": 1})  # in any order
    assert result(pair.calling) == [1, 2]
    assert pair.reports == [("one", "ok"), ("two", "ok")]
    assert pair.late == []


@pytest.mark.parametrize("order", ["together", "second first", "second later"])
def test_once_the_first_is_refused_the_seconds_result_is_late(
    bench: Bench, peer: Peer, order: str
) -> None:
    pair = Pair(bench)
    one, two = peer.read(), peer.read()
    refusal = {"id": one["id"], "error": {"code": -1, "message": "no"}}
    accepted = {"id": two["id"], "result": "begun"}
    if order == "together":
        peer.send(refusal, accepted)
    elif order == "second first":
        peer.send(accepted, refusal)
    else:
        peer.send(refusal)
    assert isinstance(result(pair.calling), CallRefused)
    if order == "second later":
        peer.send(accepted)
    eventually(lambda: pair.late == ["begun"])
    assert pair.reports[0] == ("one", "refused")


def test_a_deadline_covers_both(bench: Bench, peer: Peer) -> None:
    pair = Pair(bench, SHORT_S)
    one, two = peer.read(), peer.read()
    peer.reply(one)
    assert isinstance(result(pair.calling), CallTimeout)
    assert pair.reports == [("one", "ok"), ("two", "failed")]
    peer.reply(two, "begun")
    eventually(lambda: pair.late == ["begun"])


def test_a_deadline_that_the_first_answer_outran_still_bounds_the_second(
    bench: Bench, peer: Peer
) -> None:
    bench.act_on_notification = be_busy
    pair = Pair(bench, SHORT_S)
    one = peer.read()
    peer.read()
    peer.send({"method": "busy", "params": {}}, {"id": one["id"], "result": "ok"})
    assert isinstance(result(pair.calling), CallTimeout)
    assert pair.reports == [("one", "ok"), ("two", "failed")]


def test_a_late_result_that_cannot_be_used_hides_no_refusal(
    bench: Bench, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_result: object) -> None:
        raise ValueError

    pair = Pair(bench, on_late=refuse)
    one, two = peer.read(), peer.read()
    peer.send(
        {"id": two["id"], "result": 2}, {"id": one["id"], "error": {"code": -1, "message": "no"}}
    )
    assert isinstance(result(pair.calling), CallRefused)
    assert "rpc_dispatch_failed" in caplog.messages


def test_each_call_ends_with_its_own_answer(bench: Bench, peer: Peer) -> None:
    pair = Pair(bench)
    one, two = peer.read(), peer.read()
    peer.reply(one)
    peer.say("behind it")
    bench.hear("behind it")
    gevent.sleep(0)  # the caller has been woken
    seen = time.monotonic()
    peer.reply(two)
    result(pair.calling)
    assert pair.ended("one") <= seen <= pair.ended("two")


def test_what_cannot_be_sent_is_not_waited_for(bench: Bench) -> None:
    bench.channel.close()
    pair = Pair(bench)
    assert isinstance(result(pair.calling), ChannelClosed)
    assert pair.late == []


def test_so_many_calls_are_in_flight_at_most(bench: Bench, peer: Peer) -> None:
    assert 2 * MAX_INFLIGHT < 128  # what codex's queue holds; each may be a pair
    calls = [bench.call("m", n) for n in range(MAX_INFLIGHT + 1)]
    first = [peer.read() for _ in range(MAX_INFLIGHT)]
    assert [request["params"] for request in first] == list(range(MAX_INFLIGHT))
    peer.reply(first[40])
    assert result(calls[40]) == "ok"
    last = peer.read()
    assert last["params"] == MAX_INFLIGHT
    peer.send(*({"id": one["id"], "result": "ok"} for one in [*first, last]))
    assert [result(call) for call in calls] == ["ok"] * len(calls)


def test_the_deadline_covers_the_wait_for_a_place(bench: Bench, peer: Peer) -> None:
    calls = [bench.call("m") for _ in range(MAX_INFLIGHT)]
    requests = [peer.read() for _ in calls]
    assert isinstance(result(bench.call("never sent", timeout_s=SHORT_S)), CallTimeout)
    peer.send(*({"id": one["id"], "result": "ok"} for one in requests))
    assert {result(call) for call in calls} == {"ok"}
    calling = bench.call("next")
    request = peer.read()
    assert request["method"] == "next"
    peer.reply(request)
    assert result(calling) == "ok"


def test_callers_that_are_killed_give_their_places_back(bench: Bench, peer: Peer) -> None:
    calls = [bench.call("m") for _ in range(MAX_INFLIGHT + 5)]
    requests = [peer.read() for _ in range(MAX_INFLIGHT)]
    gevent.killall(calls)
    again = [bench.call("again") for _ in range(MAX_INFLIGHT)]
    assert {peer.read()["method"] for _ in again} == {"again"}
    peer.send(*({"id": one["id"], "result": "late"} for one in requests))
    eventually(lambda: bench.channel.counters["unknown_id"] == MAX_INFLIGHT)
    bench.channel.close()
    assert all(isinstance(result(call), ChannelClosed) for call in again)


# The end


def test_eof_fails_every_waiter_at_once(bench: Bench, peer: Peer) -> None:
    calls = [bench.call("m") for _ in range(MAX_INFLIGHT + 10)]  # ten have no place yet
    for _ in range(MAX_INFLIGHT):
        peer.read()
    peer.sock.shutdown(socket.SHUT_WR)
    assert {type(result(call)) for call in calls} == {ChannelClosed}
    assert bench.channel.is_closed
    assert bench.closings == 1


def test_half_a_line_before_eof_is_no_message(bench: Bench, peer: Peer) -> None:
    peer.send_bytes(b'{"method":"whole"}\n{"method":"hal')
    peer.sock.shutdown(socket.SHUT_WR)
    with deadline():
        bench.closed.wait()
    assert bench.methods == ["whole"]


def test_what_was_sent_before_eof_is_still_heard(bench: Bench, peer: Peer) -> None:
    calling = bench.call("m")
    request = peer.read()
    peer.say("last words")
    peer.reply(request)
    peer.sock.close()
    assert result(calling) == "ok"
    assert bench.methods == ["last words"]


def test_a_peer_that_resets_the_connection_fails_every_waiter(bench: Bench, peer: Peer) -> None:
    calls = [bench.call("m") for _ in range(3)]
    with deadline():
        socket.wait_read(peer.sock.fileno())
    peer.sock.close()  # with bytes unread, so this is a reset
    assert {type(result(call)) for call in calls} == {ChannelClosed}
    assert bench.channel.counters["read_failed"] == 1


def test_a_peer_that_leaves_while_we_write_fails_the_caller(bench: Bench, peer: Peer) -> None:
    calling = bench.call("big", "x" * (8 << 20))
    with deadline():
        socket.wait_read(peer.sock.fileno())
    peer.sock.close()
    assert isinstance(result(calling), ChannelClosed)


def test_a_call_after_the_end_fails_at_once(bench: Bench) -> None:
    bench.channel.close()
    assert isinstance(result(bench.call("m")), ChannelClosed)
    assert isinstance(outcome(bench.channel.notify, "m"), ChannelClosed)


def test_close_fails_every_waiter(bench: Bench, peer: Peer) -> None:
    calls = [bench.call("m") for _ in range(MAX_INFLIGHT + 1)]
    for _ in range(MAX_INFLIGHT):
        peer.read()
    bench.channel.close()
    assert {type(result(call)) for call in calls} == {ChannelClosed}


def test_after_close_the_reader_still_drains(bench: Bench, peer: Peer) -> None:
    bench.channel.close()
    writing = in_background(peer.send_bytes, b"x" * (8 << 20))
    assert result(writing) is None


def test_the_end_is_told_once_and_after_the_waiters(bench: Bench, peer: Peer) -> None:
    calling = bench.call("m")
    peer.read()
    pending: list[str] = []
    bench.act_on_close = lambda: pending.append(repr(bench.channel))
    peer.sock.close()
    assert isinstance(result(calling), ChannelClosed)
    bench.channel.close()
    bench.channel.close()
    bench.channel.join(DEADLINE_S)
    assert bench.closings == 1
    assert pending == ["<Channel CLOSED pending=0 outbox=0B>"]


def test_answers_to_the_child_after_the_end_are_only_counted(bench: Bench, peer: Peer) -> None:
    peer.send({"id": 7, "method": "item/tool/call", "params": {}})
    eventually(lambda: bench.requests)
    bench.channel.close()
    bench.channel.answer(bench.requests[0], {})
    bench.channel.refuse(bench.requests[0], -32601, "no")
    assert bench.channel.counters == {"answer_after_close": 2}


def test_it_shows_its_state(bench: Bench, peer: Peer) -> None:
    calling = bench.call("m")
    request = peer.read()
    assert repr(bench.channel) == "<Channel OPEN pending=1 outbox=0B>"
    peer.reply(request)
    result(calling)
    assert repr(bench.channel) == "<Channel OPEN pending=0 outbox=0B>"


# What the child says by itself


def test_requests_of_the_child_are_handed_on_and_answered(bench: Bench, peer: Peer) -> None:
    peer.send(
        {"id": "a", "method": "item/tool/call", "params": {"tool": "x"}},
        {"id": 0, "method": "currentTime/read"},
    )
    eventually(lambda: len(bench.requests) == 2)
    first, second = bench.requests
    assert (first.id, first.method, first.params) == ("a", "item/tool/call", {"tool": "x"})
    assert (second.id, second.params) == (0, {})
    bench.channel.refuse(second, -32601, "no")
    bench.channel.answer(first, {"success": False})
    assert peer.read() == {"id": 0, "error": {"code": -32601, "message": "no"}}
    assert peer.read() == {"id": "a", "result": {"success": False}}


def test_bytes_may_be_split_anywhere(bench: Bench, peer: Peer) -> None:
    message = {"method": "Grüße", "params": {"text": "a\nb ✓ 𝄞", "n": [1, 2.5, None, {}]}}
    data = orjson.dumps(message) + b"\n" + orjson.dumps(message) + b"\r\n\n"
    for cut in range(1, len(data)):
        bench.notifications.clear()
        peer.send_bytes(data[:cut])
        eventually(lambda: bench.unread() == 0)
        peer.send_bytes(data[cut:])
        bench.hear("Grüße", "Grüße")
        assert [one.params for one in bench.notifications] == [message["params"]] * 2
    assert not bench.channel.counters


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{CANARY} is not json".encode(), "not_json"),
        (b'{"method": "' + CANARY.encode(), "not_json"),
        (b"\xff\xfe" + CANARY.encode(), "not_json"),
        (b"[" * 5000, "not_json"),
        (f'["{CANARY}"]'.encode(), "not_an_object"),
        (f'"{CANARY}"'.encode(), "not_an_object"),
        (b"null", "not_an_object"),
        (f'{{"{CANARY}": 1}}'.encode(), "neither_method_nor_id"),
        (f'{{"id": 1, "{CANARY}": 1}}'.encode(), "neither_result_nor_error"),
    ],
)
def test_a_line_that_is_no_message_is_survived_and_never_logged(
    bench: Bench, peer: Peer, caplog: pytest.LogCaptureFixture, line: bytes, reason: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        peer.send_bytes(line + b"\n")
        peer.say("good")
        bench.hear("good")
    assert bench.channel.counters == {"malformed": 1}
    (record,) = [one for one in caplog.records if one.getMessage() == "rpc_malformed_line"]
    assert (vars(record)["size"], vars(record)["reason"]) == (len(line), reason)
    assert all(CANARY not in str(vars(one)) for one in caplog.records)


def test_a_line_that_is_too_long_is_dropped_and_the_next_one_read(
    bench: Bench, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    size = MAX_LINE_BYTES + (1 << 20)
    with caplog.at_level(logging.DEBUG):
        peer.send_bytes(b"x" * size + b"\n")
        peer.say("good")
        bench.hear("good")
    assert bench.channel.counters == {"oversized": 1}
    assert bench.oversized == [Oversized(size, b"x" * 512)]
    assert max(len(str(vars(one))) for one in caplog.records) < 2000


def test_noise_is_not_even_parsed(bench: Bench, peer: Peer) -> None:
    peer.send_bytes(b'noise, and no JSON\n{"method":"noise"}\n')
    peer.say("good")
    bench.hear("good")
    assert bench.channel.counters == {}


@pytest.mark.parametrize("strange", [[1], {"a": 1}, 99, "99", 1.5, True, -1])
def test_an_answer_with_a_strange_id_ends_nothing(
    bench: Bench, peer: Peer, strange: object
) -> None:
    peer.send({"id": strange, "result": 1}, {"id": strange, "error": {"code": "x"}})
    peer.say("good")
    bench.hear("good")
    assert sum(bench.channel.counters.values()) == 2


def test_a_handler_that_raises_does_not_end_the_conversation(
    bench: Bench, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_once(notification: Notification) -> None:
        if notification.method == "bad":
            raise ValueError

    bench.act_on_notification = raise_once
    peer.say("bad")
    peer.say("good")
    bench.hear("bad", "good")
    calling = bench.call("m")
    peer.reply(peer.read())
    assert result(calling) == "ok"
    assert bench.channel.counters == {"dispatch_failed": 1}
    (record,) = [one for one in caplog.records if one.getMessage() == "rpc_dispatch_failed"]
    assert vars(record)["kind"] == "Notification"


def test_neither_does_one_that_looks_at_lines_or_at_the_end_of_a_read(
    bench: Bench, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    reads: list[int] = []

    def raise_once() -> None:
        reads.append(1)
        if len(reads) == 1:
            raise ValueError

    bench.act_on_read = raise_once
    peer.send_bytes(BAD_LINE + b"\n")
    eventually(lambda: bench.channel.counters["dispatch_failed"] == 2)
    peer.say("good")
    bench.hear("good")
    kinds = [vars(one)["kind"] for one in caplog.records if one.msg == "rpc_dispatch_failed"]
    assert kinds == ["line", "read"]


def test_a_burst_does_not_starve_another_greenlet(bench: Bench, peer: Peer) -> None:
    total = 50_000
    line = b'{"method":"item/agentMessage/delta","params":{"delta":"tok"}}\n'
    handled_at_ticks: list[int] = []

    def tick() -> None:
        while len(bench.notifications) < total:
            handled_at_ticks.append(len(bench.notifications))
            gevent.sleep(0)

    ticking = in_background(tick)
    writing = in_background(peer.send_bytes, line * total)
    assert result(ticking) is None
    assert result(writing) is None
    steps = zip(handled_at_ticks, [*handled_at_ticks[1:], total], strict=True)
    batch = READ_BYTES // len(line) + 1
    assert max(after - before for before, after in steps) <= 2 * batch
    assert len(handled_at_ticks) >= total // (2 * batch)


# Back-pressure


def test_a_child_that_does_not_read_is_not_written_to_without_bound(
    bench: Bench, peer: Peer
) -> None:
    text = "x" * (MAX_OUTBOX_BYTES // 2 - 1000)
    calls = [bench.call("big", text)]
    with deadline():
        socket.wait_read(peer.sock.fileno())  # the first is with the writer now
    calls += [bench.call("big", text), bench.call("big", text)]
    refused = result(bench.call("one too many", text))
    assert type(refused) is ChannelFull
    assert bench.channel.counters == {"outbox_full": 1}
    small = bench.call("small")
    eventually(lambda: "pending=4" in repr(bench.channel))
    bench.channel.close()
    assert {type(result(call)) for call in [*calls, small]} == {ChannelClosed}
