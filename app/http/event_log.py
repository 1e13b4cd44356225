"""Event log of an answer that goes on without a client: every frame of its stream, for readers who come and go.

The frames of all logs together are bounded, with a share for each key. A log for which there is no room is given up:
its readers wait for the end of the answer, and have its stream from the store.
"""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event

from app.budget import Reservation
from app.errors import WorkerBusy

_FRAME_BYTES = 64
"""What a frame takes beside its bytes."""

_MANY_BYTES = 256 * 1024
"""In one write."""


class EventLog:
    """The frames, by their numbers from 0. `room` is what they take; `on_full` is called if that is not to be had.

    No lock: nothing here yields between reading and changing.
    """

    def __init__(self, room: Reservation, on_full: Callable[[], object] = lambda: None) -> None:
        self.count = 0
        self.is_over = False
        self.is_given_up = False
        self._frames: list[bytes] = []
        self._room = room
        self._on_full = on_full
        self._readers: set[Event] = set()

    def append(self, frame: bytes) -> None:
        """Add a frame."""
        self.count += 1
        if not self.is_given_up:
            try:
                self._room.grow(len(frame) + _FRAME_BYTES)
            except WorkerBusy:
                self._on_full()
                self._give_up()
            else:
                self._frames.append(frame)
        self._wake()

    def end(self) -> None:
        """Note that no frame will come."""
        self.is_over = True
        if not self._readers:
            self._give_up()
        self._wake()

    def open(self) -> Event:
        """Return what a reader waits on; `close` takes it."""
        news = Event()
        self._readers.add(news)
        return news

    def close(self, news: Event) -> None:
        """Note that a reader has gone. The last one after the end lets the frames go."""
        self._readers.discard(news)
        if self.is_over and not self._readers:
            self._give_up()

    def read(self, first: int) -> list[bytes]:
        """Return frames from that number on: all there are, or as many as make one write."""
        size, found = 0, []
        for frame in self._frames[first : first + _MANY_BYTES // _FRAME_BYTES]:
            found.append(frame)
            size += len(frame)
            if size > _MANY_BYTES:
                break
        return found

    def _give_up(self) -> None:
        self.is_given_up = True
        self._frames = []
        self._room.release()

    def _wake(self) -> None:
        for news in self._readers:
            news.set()

    def __repr__(self) -> str:
        return f"<EventLog {self.count} events, {len(self._readers)} readers>"
