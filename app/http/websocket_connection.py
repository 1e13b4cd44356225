"""WebSocket connection: messages of a client as they arrive, and what it is sent (RFC 6455).

wsproto is the protocol; here are the socket, the bounds and the deadlines. One greenlet reads as long as the connection
lives, so that pings are answered, and a client that leaves is noticed, while an answer is on its way. What it has read
of messages that nobody takes yet is little: beyond that it reads no more, and the client's own buffers fill.

No compression: a client may offer it, and is not answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.events import Event as ProtocolEvent
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

_BLOCK_BYTES = 64 * 1024
_AHEAD_BYTES = 64 * 1024
_AHEAD_PIECES = 256
"""What is read of messages that nobody takes yet."""

_SHORT_BYTES = 1024
_LINE = "frames"
"""Where the connections of one caller wait for the loop between so many events."""

_EVENTS_AT_ONCE = 64
_MOST_FRAMES = 20_000
"""Of one message, which may be longer than any body in much fewer. Each costs some microseconds."""

_SKIP_S = 30.0
_CLOSE_S = 1.0
"""How long a client has to answer the last frame."""


class WebSocketConnection:
    """One connection. `on_left` is called once, in the hub, when its client has left or says that it leaves.

    `sock` is a `ClientSocket`. All methods but `wake` may block.
    """

    def __init__(self, sock: Any, on_left: Callable[[], None]) -> None:
        self.has_left = False
        self._sock = sock
        self._on_left = on_left
        self._protocol = Connection(ConnectionType.SERVER, trailing_data=sock.take_ahead())
        self._pieces: deque[bytes | None] = deque()  # None at the end of each message
        self._ahead_bytes = self._frames = 0
        self._is_within = self._is_closing = False
        self._news, self._room = Event(), Event()
        self._sending = Semaphore()
        self._last: CloseConnection | None = None
        self._reader = gevent.spawn(self._read)

    # Messages

    @property
    def has_message(self) -> bool:
        """True if some of a message is there."""
        return bool(self._pieces)

    def wait(self, for_s: float) -> bool:
        """Block until a message has begun, the client has left or `wake`; return False if none of it in that time."""
        is_new = bool(self._news.wait(max(0.0, for_s)))
        if not (self._pieces or self.has_left):
            self._news.clear()
        return is_new

    def wake(self) -> None:
        """End a `wait`."""
        self._news.set()

    def begin_message(self) -> None:
        """Let `read` return the next message."""
        self._is_within = True

    def read(self, size: int) -> bytes:
        """Return bytes of the message, none at its end. Raises `TimeoutError` where it pauses, else `OSError`."""
        if not self._is_within:
            return b""
        self._await_piece()
        taken: list[bytes] = []
        while size > 0 and self._pieces:
            piece = self._pieces.popleft()
            if piece is None:
                self._is_within = bool(taken)
                if taken:  # the end is told by the next call
                    self._pieces.appendleft(None)
                break
            if len(piece) > size:
                self._pieces.appendleft(piece[size:])
            taken.append(piece[:size])
            size -= len(taken[-1])
        data = b"".join(taken)
        self._ahead_bytes -= len(data)
        self._room.set()
        return data

    def skip_short(self, is_one: Callable[[bytes], bool]) -> bool:
        """Take the next message if it `is_one`, short, and there in one piece; return whether it was."""
        match [*islice(self._pieces, 2)]:
            case [bytes(piece), None] if len(piece) <= _SHORT_BYTES and is_one(piece):
                pass
            case _:
                return False
        self._is_within = True
        while self.read(_SHORT_BYTES):
            pass
        return True

    def _await_piece(self) -> None:
        while not self._pieces:
            if self.has_left:
                raise ConnectionResetError
            if not self.wait(self._sock.deadlines.head_s):
                raise TimeoutError("the message pauses")

    def skip_rest(self, most: int) -> bool:
        """Take what is left of the message; return False if that is more than so many bytes, or does not come."""
        deadline = gevent.Timeout(_SKIP_S, TimeoutError)
        with suppress(OSError), deadline:  # a pause, too
            while most >= 0 and (data := self.read(_BLOCK_BYTES)):
                most -= len(data)
        return not self._is_within

    # The greenlet that reads

    def _read(self) -> None:
        with suppress(OSError):
            while self._take(self._protocol.events()):
                data = b""
                with suppress(TimeoutError):  # nobody is in a hurry here
                    if not (data := self._sock.recv(_BLOCK_BYTES)):
                        break
                if data:
                    self._protocol.receive_data(data)
        self._leave()

    def _take(self, events: Iterable[ProtocolEvent]) -> bool:
        """Take all that has come; return True if more may come."""
        for count, event in enumerate(events, 1):
            self._take_one(event)
            if self.has_left:
                break
            if count % _EVENTS_AT_ONCE == 0:
                self._sock.queue.wait((_LINE, self._sock.caller))
        return not self.has_left

    def _take_one(self, event: ProtocolEvent) -> None:
        match event:
            case TextMessage():
                self._frames += event.frame_finished
                if self._frames > _MOST_FRAMES:
                    self._break_off(CloseReason.POLICY_VIOLATION, "Too many frames in one message.")
                    return
                self._put(event.data.encode())
                if event.message_finished:
                    self._frames = 0
                    self._put(None)
            case Ping() if not self._is_closing:
                self.send(self._protocol.send(event.response()))
            case BytesMessage():
                self._break_off(CloseReason.UNSUPPORTED_DATA, "Messages are texts here.")
            case CloseConnection() if self._protocol.state in _PEER_CLOSES:
                self._last = event.response()
                self._leave()
            case CloseConnection():  # wsproto's word for what breaks the protocol
                self._break_off(event.code, event.reason or "")

    def _put(self, piece: bytes | None) -> None:
        if piece == b"" or self._is_closing:
            return
        while self._ahead_bytes > _AHEAD_BYTES or len(self._pieces) > _AHEAD_PIECES:
            self._room.clear()
            self._room.wait()
            if self._is_closing or self.has_left:
                return
        self._pieces.append(piece)
        self._ahead_bytes += len(piece or b"")
        self._news.set()

    def _break_off(self, code: int, reason: str) -> None:
        self._last = CloseConnection(code, reason)
        self._leave()

    def _leave(self) -> None:
        """Note that nothing more comes."""
        if not self.has_left:
            self.note_left()
            gevent.get_hub().loop.run_callback(self._on_left)

    # What is sent

    def note_left(self) -> None:
        """Note that the client has gone. Does not block."""
        self.has_left = True
        self._news.set()
        self._room.set()

    def send(self, frames: bytes) -> None:
        """Send whole frames. Raises `OSError` where the client does not take them."""
        with self._sending:
            self._sock.sendall(frames)

    def ping(self) -> None:
        """Ask for a sign of life, which is one for what is between the two. Raises as `send` does."""
        self.send(self._protocol.send(Ping()))

    def close(self, code: int, reason: str) -> None:
        """Say that this is the end, or answer a client that has said it, and let it read that for a moment."""
        self._is_closing = True
        self._room.set()
        last = self._last or CloseConnection(code, reason[:100])
        with suppress(OSError, LocalProtocolError):
            self.send(self._protocol.send(last))
            if not self.has_left:
                self._reader.join(_CLOSE_S)
        self._reader.kill(block=False)


_PEER_CLOSES = (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)
