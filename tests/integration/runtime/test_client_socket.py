"""Accepted connections over real sockets: the deadlines of each phase, and what the kernel is told."""

from __future__ import annotations

import errno
import socket as constants
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.pool import Pool

from app.runtime.client_socket import (
    BLOCK_BYTES,
    ClientServer,
    ClientSocket,
    Deadlines,
    Phase,
    SlowHead,
)
from app.runtime.first_bytes import FirstBytes
from app.runtime.loop_queue import LoopQueue
from tests.fakes.waiting import deadline, eventually, in_background, outcome, result

SOON_S = 0.05
LONG = Deadlines(head_s=20, idle_s=20, send_s=20)


class OpenServer(ClientServer):
    """One that accepts connections of which it has heard nothing."""

    unheard_s = 0


@dataclass
class Door:
    """A server whose accepted connections the test holds in its hands."""

    deadlines: Deadlines = LONG
    lets_in: bool = True
    accepted: list[ClientSocket] = field(default_factory=list)
    theirs: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = Pool()
        self.server = OpenServer(
            ("127.0.0.1", 0),
            self.deadlines,
            LoopQueue(),
            self,
            handle=self._handle,
            spawn=self.pool,
        )
        self.server.start()

    def caller_of(self, authorization: str) -> str | None:
        return authorization.removeprefix("Bearer ")

    def admit(self, first: FirstBytes, caller: str | None) -> bool:
        return self.lets_in

    def refusal(self) -> bytes:
        return b"full"

    def on_exhausted(self) -> None:
        pass

    def _handle(self, client: Any, _: Any) -> None:
        self.accepted.append(client)
        gevent.sleep(60)

    def open(
        self, deadlines: Deadlines, receive_buffer: int | None = None
    ) -> tuple[ClientSocket, Any]:
        """Return the server's end of a new connection, and the client's."""
        self.server.deadlines = deadlines
        client = socket.socket()
        self.theirs.append(client)
        if receive_buffer is not None:
            client.setsockopt(constants.SOL_SOCKET, constants.SO_RCVBUF, receive_buffer)
        client.connect(self.server.address)
        eventually(lambda: len(self.accepted) == len(self.theirs))
        return self.accepted[-1], client


@pytest.fixture
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    opened = Door(getattr(request, "param", LONG))
    yield opened
    opened.server.stop(timeout=0)
    for client in opened.theirs:
        client.close()


# Reading


def test_one_that_never_says_anything_ends_like_one_that_closed(door: Door) -> None:
    ours, _ = door.open(Deadlines(head_s=SOON_S, idle_s=20))
    with deadline():
        assert ours.recv(10) == b""
    assert ours.cut_reason == "silent"


def test_the_time_of_the_first_head_runs_from_the_accept(door: Door) -> None:
    ours, theirs = door.open(Deadlines(head_s=0.2, idle_s=20))
    theirs.sendall(b"GET")
    assert ours.recv(10) == b"GET"
    with deadline():
        assert isinstance(outcome(ours.recv, 10), SlowHead)
    assert ours.cut_reason == "slow_head"


def test_what_has_come_is_read_however_late_this_side_looks(door: Door) -> None:
    ours, theirs = door.open(Deadlines(head_s=0, idle_s=0))
    theirs.sendall(b"GET")
    assert ours.recv(10) == b"GET"
    assert isinstance(outcome(ours.recv, 10), SlowHead)
    ours.await_next(has_begun=False)
    theirs.sendall(b"GET")
    assert ours.recv(10) == b"GET"


def test_a_head_that_comes_byte_by_byte_has_one_deadline(door: Door) -> None:
    ours, theirs = door.open(Deadlines(head_s=0.3, idle_s=20))
    theirs.sendall(b"x")

    def drip() -> None:
        while ours.recv(10):
            theirs.sendall(b"x")

    assert isinstance(result(in_background(drip)), SlowHead)


def test_an_idle_connection_has_a_time_of_its_own_and_its_next_head_another(door: Door) -> None:
    ours, theirs = door.open(Deadlines(head_s=SOON_S, idle_s=20))
    ours.await_next(has_begun=False)
    reading = in_background(ours.recv, 10)
    silent, _ = door.open(Deadlines(head_s=SOON_S, idle_s=20))
    with deadline():
        assert silent.recv(10) == b""  # the head's time has passed
    assert not reading.ready()  # an idle one is not held to it
    theirs.sendall(b"G")
    assert result(reading) == b"G"
    with deadline():
        assert isinstance(outcome(ours.recv, 10), SlowHead)


def test_an_idle_connection_ends_without_a_reason(door: Door) -> None:
    ours, _ = door.open(Deadlines(head_s=20, idle_s=SOON_S))
    ours.await_next(has_begun=False)
    with deadline():
        assert ours.recv(10) == b""
    assert ours.cut_reason is None


def test_a_head_that_was_sent_ahead_in_part_has_begun(door: Door) -> None:
    ours, _ = door.open(Deadlines(head_s=SOON_S, idle_s=20))
    ours.await_next(has_begun=True)
    with deadline():
        assert isinstance(outcome(ours.recv, 10), SlowHead)


def test_a_body_may_pause_so_long_and_no_longer(door: Door) -> None:
    ours, theirs = door.open(Deadlines(head_s=SOON_S, idle_s=20))
    ours.await_body()
    theirs.sendall(b"body")
    assert ours.recv(10) == b"body"
    with deadline():
        assert isinstance(outcome(ours.recv, 10), TimeoutError)
    assert ours.cut_reason is None  # the request is answered with an error
    assert ours.gettimeout() is None


class Lines:
    """A queue in which nobody waits, that notes who would wait where."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def wait(self, line: Any) -> None:
        self.seen.append(line)


@pytest.mark.parametrize(
    ("begun", "kind"),
    [
        (b"GET /livez HTTP/1.1\r\n", Phase.HEALTH_CHECK),
        (b"HEAD /readyz HTTP/1.1\r\n", Phase.HEALTH_CHECK),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", Phase.HEALTH_CHECK),
        (b"GET /livez", Phase.SILENT),
        (b"GET /livezz HTTP/1.1\r\n", Phase.SILENT),
        (b"POST /livez HTTP/1.1\r\n", Phase.SILENT),
        (b"GET /v1/models HTTP/1.1\r\n", Phase.SILENT),
    ],
)
def test_a_health_check_waits_in_a_line_of_its_own_to_be_read(
    door: Door, begun: bytes, kind: Phase
) -> None:
    ours, theirs = door.open(LONG)
    lines: Any = Lines()
    ours.queue = lines
    theirs.sendall(begun)
    assert ours.recv(100) == begun
    assert lines.seen == [(kind, None)]


def test_a_connection_that_asks_for_health_without_a_pause_waits_like_others(door: Door) -> None:
    ours, theirs = door.open(LONG)
    lines: Any = Lines()
    for _ in range(2):
        theirs.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        ours.queue = lines
        ours.recv(100)
        ours.await_next(has_begun=False)
    assert lines.seen == [(Phase.HEALTH_CHECK, None), (Phase.IDLE, None)]


def test_one_that_has_waited_for_its_turn_reads_at_once(door: Door) -> None:
    ours, theirs = door.open(LONG)
    lines: Any = Lines()
    ours.queue = lines
    theirs.sendall(b"GET")
    ours.await_turn()
    assert ours.recv(1) == b"G"
    assert lines.seen == [(Phase.SILENT, None)]
    assert ours.recv(10) == b"ET"
    assert lines.seen == [(Phase.SILENT, None), (Phase.HEAD, None)]


def test_a_turn_that_does_not_come_in_time_is_told_by_the_read(door: Door) -> None:
    ours, _ = door.open(Deadlines(head_s=SOON_S, idle_s=20))
    with deadline():
        ours.await_turn()
        assert ours.recv(10) == b""
    assert ours.cut_reason == "silent"


def test_a_client_that_has_closed_without_a_word_is_not_handled(door: Door) -> None:
    for _ in range(
        100
    ):  # the kernel's queue takes them: nothing is accepted before this greenlet waits
        constants.create_connection(door.server.socket.getsockname()).close()
    door.open(LONG)
    assert len(door.accepted) == 1


WHOLE = b"GET / HTTP/1.1\r\nAuthorization: Bearer mine\r\n\r\n"


def test_the_caller_is_known_before_anything_is_read(door: Door) -> None:
    with constants.create_connection(door.server.socket.getsockname()) as theirs:
        theirs.sendall(WHOLE)
        eventually(lambda: door.accepted)
        assert door.accepted[0].caller == "mine"
        assert door.accepted[0].recv(100) == WHOLE


@pytest.mark.parametrize(("begun", "answer"), [(WHOLE, b"full"), (WHOLE[:-1], b"")])
def test_one_that_is_not_let_in_is_answered_and_closed_at_once(
    door: Door, begun: bytes, answer: bytes
) -> None:
    door.lets_in = False
    with socket.socket() as theirs:
        door.server.stop_accepting()  # so that all of it is there when it is looked at
        theirs.connect(door.server.socket.getsockname())
        theirs.sendall(begun)
        door.server.start_accepting()
        with deadline(), suppress(ConnectionResetError):  # of half a head, which nobody reads
            assert theirs.recv(100) == answer
            assert theirs.recv(100) == b""
    assert door.accepted == []


@pytest.mark.parametrize(
    ("read", "unread", "asks"),
    [
        (b"", b"", False),
        (b"", WHOLE[:-1], False),
        (b"", WHOLE, True),
        (WHOLE[:10], b"aaa", False),
        (WHOLE[:10], WHOLE[10:], True),
        (WHOLE[:-1], b"\n", True),
    ],
)
def test_who_has_asked_is_known_by_a_whole_head(
    door: Door, read: bytes, unread: bytes, asks: bool
) -> None:
    ours, theirs = door.open(LONG)
    if read:
        theirs.sendall(read)
        assert ours.recv(100) == read
    theirs.sendall(unread)
    eventually(lambda: ours.has_asked() is asks)


def test_who_sends_the_rest_of_a_body_asks_nothing(door: Door) -> None:
    ours, theirs = door.open(LONG)
    ours.await_body()
    theirs.sendall(WHOLE)
    ours.await_turn()
    assert not ours.has_asked()


# Writing


def test_a_client_that_reads_nothing_is_cut_off(door: Door) -> None:
    ours, _ = door.open(Deadlines(send_s=SOON_S), receive_buffer=4096)
    with deadline():
        error = outcome(ours.sendall, b"x" * 20_000_000)
    assert isinstance(error, ConnectionResetError)
    assert error.errno == errno.ECONNRESET
    assert ours.cut_reason == "slow_reader"


def test_what_it_had_not_taken_is_dropped(door: Door) -> None:
    ours, theirs = door.open(Deadlines(send_s=SOON_S), receive_buffer=4096)
    with deadline():
        outcome(ours.sendall, b"x" * 20_000_000)
    ours.close()

    def read() -> None:
        while theirs.recv(65536):
            pass

    with deadline():
        assert isinstance(outcome(read), ConnectionResetError)


def test_a_client_that_takes_a_block_in_time_gets_an_answer_of_any_length(door: Door) -> None:
    """The whole takes longer than the deadline, which is for a block."""
    send_s = 3.0
    ours, theirs = door.open(Deadlines(send_s=send_s), receive_buffer=16_384)
    data = bytes(range(256)) * (16 * BLOCK_BYTES // 256)

    def send() -> float:
        began = time.monotonic()
        ours.sendall(data)
        return time.monotonic() - began

    sending = in_background(send)
    taken = b""
    with deadline():
        while len(taken) < len(data):
            taken += theirs.recv(8192)
            gevent.sleep(0.04)
    assert result(sending) > send_s
    assert taken == data
    assert ours.cut_reason is None


def test_a_trickle_is_not_progress(door: Door) -> None:
    ours, theirs = door.open(Deadlines(send_s=0.3), receive_buffer=4096)
    sending = in_background(ours.sendall, b"x" * 20_000_000)

    def trickle() -> None:
        while theirs.recv(1):
            gevent.sleep(0.02)

    trickling = in_background(trickle)
    assert isinstance(result(sending), ConnectionResetError)
    assert ours.cut_reason == "slow_reader"
    trickling.kill()


def test_a_write_that_must_not_block_does_not(door: Door) -> None:
    ours, _ = door.open(LONG, receive_buffer=4096)
    ours.setblocking(False)
    with deadline(5):  # far less than the time for a block
        assert isinstance(outcome(ours.sendall, b"x" * 20_000_000), OSError)
    assert ours.cut_reason is None


def test_a_client_that_closes_during_a_write_ends_it(door: Door) -> None:
    ours, theirs = door.open(LONG, receive_buffer=4096)
    sending = in_background(ours.sendall, b"x" * 20_000_000)
    gevent.sleep(0)
    theirs.close()
    assert isinstance(result(sending), OSError)
    assert ours.cut_reason is None


def test_a_head_goes_out_with_the_beginning_of_its_body(door: Door) -> None:
    ours, theirs = door.open(LONG)
    ours.hold_head()
    ours.sendall(b"head ")
    with pytest.raises(BlockingIOError):  # the plain socket: gevent's would wait
        theirs._sock.recv(64, constants.MSG_DONTWAIT)
    ours.sendall(b"body")
    with deadline():
        assert theirs.recv(64) == b"head body"
    ours.sendall(b"more")
    with deadline():
        assert theirs.recv(64) == b"more"


def test_a_head_without_a_body_is_sent_at_the_end(door: Door) -> None:
    ours, theirs = door.open(LONG)
    ours.hold_head()
    ours.sendall(b"head")
    ours.send_held()
    with deadline():
        assert theirs.recv(64) == b"head"
    ours.hold_head()
    ours.send_held()  # there was no answer
    ours.sendall(b"next")
    with deadline():
        assert theirs.recv(64) == b"next"


def test_a_head_that_a_client_does_not_take_is_the_last_one(door: Door) -> None:
    """What came next would stand behind half of it."""
    ours, _ = door.open(Deadlines(send_s=SOON_S), receive_buffer=4096)
    ours.hold_head()
    ours.sendall(b"x" * 20_000_000)
    with deadline():
        assert isinstance(outcome(ours.send_held), ConnectionResetError)
    assert ours.cut_reason == "slow_reader"
    ours.close()
    ours.send_held()  # nothing is left of it


def test_a_head_that_is_dropped_is_not_sent(door: Door) -> None:
    ours, theirs = door.open(LONG)
    ours.hold_head()
    ours.sendall(b"head")
    assert ours.drop_held() == b"head"
    ours.sendall(b"next")
    with deadline():
        assert theirs.recv(64) == b"next"


# The kernel


@pytest.mark.skipif(not hasattr(constants, "TCP_USER_TIMEOUT"), reason="Linux only")
@pytest.mark.parametrize("door", [Deadlines(send_s=7)], indirect=True)
def test_the_kernel_holds_little_and_drops_the_vanished(door: Door) -> None:
    ours, _ = door.open(LONG)

    def option(name: str, level: int = constants.IPPROTO_TCP) -> int:
        return ours.getsockopt(level, getattr(constants, name))

    assert option("TCP_NOTSENT_LOWAT") == 2 * BLOCK_BYTES
    assert option("TCP_USER_TIMEOUT") == 14_000
    assert option("SO_KEEPALIVE", constants.SOL_SOCKET) == 1
    assert option("TCP_KEEPIDLE") == 60


@pytest.mark.skipif(not hasattr(constants, "TCP_DEFER_ACCEPT"), reason="Linux only")
def test_the_kernel_keeps_a_connection_until_something_has_come(door: Door) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ClientServer(listener, LONG, LoopQueue(), door, handle=print).init_socket()
        assert listener.getsockopt(constants.IPPROTO_TCP, constants.TCP_DEFER_ACCEPT) == 1


def test_a_deaf_client_takes_no_megabytes_of_the_kernels_memory(door: Door) -> None:
    ours, _ = door.open(LONG, receive_buffer=4096)
    ours.setblocking(False)
    with suppress(BlockingIOError):
        for taken in range(0, 20_000_000, 4096):
            assert taken < 400_000
            ours.send(b"x" * 4096)


def test_no_read_takes_more_than_a_block(door: Door) -> None:
    ours, theirs = door.open(LONG)
    theirs.sendall(bytes(2 * BLOCK_BYTES))
    assert len(ours.recv(1 << 20)) <= BLOCK_BYTES


def test_a_copy_is_one_of_the_kind(door: Door) -> None:
    ours, _ = door.open(LONG)
    with ours.dup() as copy:
        assert isinstance(copy, ClientSocket)
        assert copy.getpeername() == ours.getpeername()
