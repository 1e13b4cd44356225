"""Client connection on which every wait for the client has a deadline.

Reading: a head has to be whole in time, an idle connection is kept for a while, a body may pause only so long. Writing:
each block has to be taken in time, however many there are, so that a long answer over a slow line is never cut and a
client that has stopped reading always is. The kernel holds little for such a client, and drops one that has vanished.

Loaded by gunicorn's master, too, which must not load the application: so it imports nothing that does.
"""

from __future__ import annotations

import errno
import socket as constants
import time
from _socket import socket as plain_socket  # gevent's sockets are made of these
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import gevent
from gevent.server import StreamServer
from gevent.socket import socket, wait_write

from app.runtime import first_bytes
from app.runtime.first_bytes import FirstBytes
from app.runtime.idle_connections import IdleConnections
from app.runtime.loop_queue import LoopQueue

BLOCK_BYTES = 64 * 1024
"""Number of bytes that have to be taken within `Deadlines.send_s`, and that are read at once at most."""

_REST_S = 0.5
"""Pause between two requests of a connection after which it counts as rested: health checks are seconds apart."""

_UNSENT_BYTES = 2 * BLOCK_BYTES
_ABORT = (1).to_bytes(4, "little") + bytes(4)  # struct linger: on, for zero seconds

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_S = 0.02
_AT_ONCE = constants.MSG_PEEK | constants.MSG_DONTWAIT

_KEEPALIVE_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Silence, gap and number of the kernel's keep-alive probes."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines of one connection, in seconds.

    `head_s` is for a whole head, and for a pause in a body; `idle_s` between two requests; `send_s` for each block.
    """

    head_s: float = 10.0
    idle_s: float = 95.0
    send_s: float = 30.0


class Phase(Enum):
    """Kind of the next bytes from the client; those of each wait in a line of their own."""

    SILENT = "silent"  # nothing has come since the connection was accepted
    IDLE = "idle"  # nothing has come since the last answer
    HEAD = "head"
    BODY = "body"
    HEALTH_CHECK = "health_check"  # of a connection that is not known to ask for more than that


class SlowHead(Exception):
    """A head was begun and not finished in time."""


class ClientSocket(socket):
    """Connection of a client.

    `cut_reason` says why this side ended it: `silent`, `slow_head`, `slow_reader`; `caller` is the name of the key that
    its latest request came with, None for a stranger. `is_rested`: no other request came shortly before this one.
    `upgraded` is what speaks another protocol on it, whose `end()` must not block; `take_ahead` returns what was read
    of that with the head, and `idle` has all connections of the worker that only wait. `is_last` returns True where the
    worker leaves, so that what is answered now is the last.
    """

    __slots__ = (
        "_deadline",
        "_has_turn",
        "_head",
        "_is_head_next",
        "_phase",
        "caller",
        "cut_reason",
        "deadlines",
        "idle",
        "is_last",
        "is_rested",
        "queue",
        "take_ahead",
        "upgraded",
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.caller: str | None = None
        self.cut_reason: str | None = None
        self.deadlines = Deadlines()
        self.is_rested = True
        self.queue = LoopQueue()
        self.idle: IdleConnections[Any] | None = None
        self.take_ahead: Callable[[], bytes] = bytes
        self.upgraded: Any = None
        self.is_last: Callable[[], bool] = bool
        self._phase = Phase.BODY
        self._deadline = 0.0
        self._has_turn = False
        self._is_head_next = False
        self._head = b""

    # The phases, as the worker goes through them

    def await_first(self) -> None:
        """The connection was just accepted: the time for its first head runs."""
        self._phase, self._deadline = Phase.SILENT, time.monotonic() + self.deadlines.head_s

    def await_next(self, *, has_begun: bool) -> None:
        """A request is over. `has_begun`: some of the next one is there already."""
        self.is_rested = False
        if has_begun:
            self._begin_head()
        else:
            self._phase, self._deadline = Phase.IDLE, time.monotonic() + self.deadlines.idle_s

    def await_body(self) -> None:
        """The head is whole."""
        self._phase = Phase.BODY

    def _begin_head(self) -> None:
        self._phase, self._deadline = Phase.HEAD, time.monotonic() + self.deadlines.head_s

    # Reading and writing, as gunicorn does

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come; nothing, as at EOF, where an idle connection has waited long enough. Blocks.

        Takes its turn among the caller's connections, and a block at most: what gunicorn reads ahead nobody counts.
        Raises `SlowHead`, and `TimeoutError` where a body pauses for too long.
        """
        self.await_turn()
        if not self._has_turn:
            return self._give_up()
        self._has_turn = False
        data: bytes = super().recv(min(size, BLOCK_BYTES), flags)
        if self._phase is Phase.SILENT:
            self._phase = Phase.HEAD  # its time has run since the connection was accepted
        elif self._phase is Phase.IDLE:
            self._begin_head()
        return data

    def await_turn(self) -> None:
        """Block until something has come and may be read, or its time is over, which `recv` then tells."""
        if self._has_turn or (begun := self._await_bytes()) is None:
            return
        if self._phase is Phase.IDLE:
            self.is_rested = self._deadline - time.monotonic() < self.deadlines.idle_s - _REST_S
        self.queue.wait((self._kind(begun), self.caller))
        self._has_turn = True

    def _await_bytes(self) -> bytes | None:
        """Return the beginning of what has come, without taking it; None where it has not come in time. Blocks."""
        left = (
            self.deadlines.head_s
            if self._phase is Phase.BODY
            else self._deadline - time.monotonic()
        )
        if left <= 0 and self._phase is Phase.HEAD:
            return None
        self.settimeout(max(0.0, left))  # it may be ours that the first bytes are seen so late
        try:
            begun: bytes = super().recv(first_bytes.LONGEST_BEGINNING, constants.MSG_PEEK)
        except (TimeoutError, BlockingIOError):
            return None
        finally:
            self.settimeout(None)
        return begun

    def _kind(self, begun: bytes) -> Phase:
        """Return which line a read waits in: first bytes tell health checks, before anything is parsed."""
        begins = self._phase in (Phase.SILENT, Phase.IDLE)
        if begins and self.is_rested and first_bytes.begins_health_check(begun):
            return Phase.HEALTH_CHECK
        return self._phase

    def has_asked(self) -> bool:
        """Return True where a whole head has come that was not read yet. Does not block."""
        if self._phase is Phase.BODY:
            return False
        own: Any = self  # gevent's types do not know the plain socket in it
        unread = _look(own._sock) or b""  # noqa: SLF001
        return (
            first_bytes.ends_head(unread)
            if self._phase is Phase.HEAD
            else first_bytes.read(unread).is_whole
        )

    def tell_end(self, sides: int) -> None:
        """Tell the connection that nothing more comes, or goes: it ends, once it has answered what has come.

        Past gevent, which would break off what is under way, and gunicorn would log that as an error; and not through a
        copy of the socket, for which there may be no descriptor.
        """
        if self.upgraded is not None:
            self.upgraded.end()
            return
        own: Any = self
        with suppress(OSError):
            own._sock.shutdown(sides)  # noqa: SLF001  (as above)

    def _give_up(self) -> bytes:
        if self._phase is Phase.BODY:
            raise TimeoutError("the body pauses")
        if self._phase is Phase.HEAD:
            self.cut_reason = "slow_head"
            raise SlowHead
        if self._phase is Phase.SILENT:
            self.cut_reason = "silent"
        return b""

    def hold_head(self) -> None:
        """Hold back what is written next, the head of an answer, until its body begins: one packet is enough."""
        self._is_head_next = True

    def send_held(self) -> None:
        """Send the head of an answer that has no body. Blocks and raises as `sendall` does."""
        if head := self.drop_held():
            self.sendall(head)

    def drop_held(self) -> bytes:
        """Hold back nothing more; return the head that was."""
        self._is_head_next = False
        head, self._head = self._head, b""
        return head

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything. Blocks; raises `ConnectionResetError` where a block is not taken in time."""
        if self._is_head_next:
            self._is_head_next, self._head = False, bytes(data)
            return
        if self._head:
            data, self._head = self._head + data, b""
        if self.timeout == 0.0:
            super().sendall(data, flags)
            return
        sent = self._send_some(data, flags)
        if sent < len(data):  # mostly the kernel takes everything at once
            self._send_rest(memoryview(data)[sent:], flags)

    def _send_rest(self, left: memoryview, flags: int) -> None:
        goal, deadline = max(0, len(left) - BLOCK_BYTES), time.monotonic() + self.deadlines.send_s
        while left:
            with suppress(TimeoutError):
                wait_write(self.fileno(), timeout=deadline - time.monotonic())
            left = left[self._send_some(left, flags) :]
            now = time.monotonic()
            if len(left) <= goal:
                goal, deadline = max(0, len(left) - BLOCK_BYTES), now + self.deadlines.send_s
            elif now >= deadline:
                self._cut_off()

    def _send_some(self, data: bytes | memoryview, flags: int) -> int:
        send: Any = self.send  # gevent's has a parameter more than its types say
        try:
            return int(send(data, flags, timeout=0.0))
        except BlockingIOError:
            return 0

    def _cut_off(self) -> None:
        """Give up on a client that does not read, and let the kernel forget what it still holds for it."""
        self.cut_reason = "slow_reader"
        with suppress(OSError):
            self.setsockopt(constants.SOL_SOCKET, constants.SO_LINGER, _ABORT)
        raise ConnectionResetError(errno.ECONNRESET, "The client does not read.")


def _look(plain: plain_socket) -> bytes | None:
    """Return the first of what has come, nothing at its end; None where nothing has come, or can. Does not block."""
    with suppress(OSError):
        return plain.recv(first_bytes.LOOKED_AT_BYTES, _AT_ONCE)
    return None


def _refuse(plain: plain_socket, answer: bytes) -> None:
    """Answer what has come, as far as that can be at once. Does not block."""
    with suppress(OSError):
        plain.recv(BLOCK_BYTES, constants.MSG_DONTWAIT)  # what is unread would be a reset
        plain.send(answer, constants.MSG_DONTWAIT)


class Door(Protocol):
    """What a server asks its worker about new connections. None of it may block."""

    def caller_of(self, authorization: str) -> str | None:
        """Return the name of the key in that header, None for a stranger."""

    def admit(self, first: FirstBytes, caller: str | None) -> bool:
        """Return whether a connection that begins so is let in."""

    def refusal(self) -> bytes:
        """Return the answer for a request that is not let in."""

    def on_exhausted(self) -> None:
        """Called when a descriptor was lacking."""


class ClientServer(StreamServer):
    """Accepts connections as `ClientSocket`s, those that the `door` lets in. All wait in one `queue`."""

    max_accept = 64  # in one turn of the loop
    unheard_s = 1
    """For how long the kernel keeps a connection on which nothing has come yet, in whole seconds."""

    def __init__(
        self, listener: Any, deadlines: Deadlines, queue: LoopQueue, door: Door, **options: Any
    ) -> None:
        super().__init__(listener, **options)
        self.deadlines, self.queue, self._door = deadlines, queue, door
        self._looks_left = 0

    def init_socket(self) -> None:
        """Set on the listener what every connection has from it: a call for each would cost more than the accept."""
        super().init_socket()
        _set_kernel_limits(self.socket, self.deadlines, self.unheard_s)

    def _do_read(self) -> None:
        self._looks_left = self.max_accept  # those that are not let in count, too
        super()._do_read()  # type: ignore[misc]  # gevent's types do not have it

    def do_read(self) -> Any:
        """Return a connection and its address; None if there is none, or no descriptor for it: then after a pause."""
        listener: Any = self.socket
        while self._looks_left > 0:
            self._looks_left -= 1
            try:
                number, address = listener._accept()  # noqa: SLF001  (as gevent does)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause()
                self._door.on_exhausted()
                return None
            plain = plain_socket(listener.family, listener.type, listener.proto, fileno=number)
            if client := self._let_in(plain):
                return client, address
        return None

    def _let_in(self, plain: plain_socket) -> ClientSocket | None:
        """Return the connection of a client, or close it: what gevent makes for one costs many times as much."""
        begun = _look(plain)
        first = first_bytes.read(begun or b"")
        caller = self._door.caller_of(first.authorization) if first.authorization else None
        if begun == b"" or not self._door.admit(first, caller):
            if first.is_whole:
                _refuse(plain, self._door.refusal())
            plain.close()
            return None
        client = ClientSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        client.deadlines, client.queue, client.caller = self.deadlines, self.queue, caller
        client.await_first()
        return client

    def _pause(self) -> None:
        """Leave new connections to the kernel's queue for a moment, as gevent does, which would print a traceback."""
        self.stop_accepting()
        gevent.spawn_later(_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if self.started:
            self.start_accepting()


def _set_kernel_limits(listener: Any, deadlines: Deadlines, unheard_s: int) -> None:
    """Set what the kernel does with a client that says nothing, does not read, or is not there any more.

    Little that is not on its way yet: else a block counts as taken while megabytes of others lie in front of it, and
    thousands of deaf clients would fill the machine. What is on its way has no bound but TCP's, so lines stay as fast.
    """
    listener.setsockopt(constants.SOL_SOCKET, constants.SO_KEEPALIVE, 1)
    options = {
        **_KEEPALIVE_PROBES,
        "TCP_NOTSENT_LOWAT": _UNSENT_BYTES,
        # Some hundred bytes of the kernel's instead of a socket and a greenlet.
        "TCP_DEFER_ACCEPT": unheard_s,
        # The kernel's own deadline, for what we do not see. Later than ours, which knows the reason.
        "TCP_USER_TIMEOUT": round(2000 * deadlines.send_s),
    }
    for name, value in options.items():
        # macOS has not all of them.
        if (option := getattr(constants, name, None)) is not None:
            with suppress(OSError):
                listener.setsockopt(constants.IPPROTO_TCP, option, value)
