"""Background answer: it goes on when its client leaves, and is asked for, followed and cancelled by its id.

It is the same answer as in a request, with another driver. Two greenlets work on it: one follows its turn and may be
interrupted at any place; the other waits for that, tells the store now and then that somebody works here, and writes
down how it ended, which nothing interrupts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import gevent
from gevent.event import Event

from app.answers.answer import Answer
from app.answers.chunks import Chunk, Cost
from app.errors import GatewayError, StoreFailed
from app.http.defects import unforeseen
from app.http.event_log import EventLog
from app.http.frames import frame
from app.http.wire import Payload, Wire
from app.observability.requests import RequestRecord
from app.pause import pause

log = logging.getLogger("codex_api.http")

_RENEW_S = 5.0
"""How often the store is told that somebody still works on an answer: several times in its `HOLD_S`."""

_MOST_TRIES = 12
"""To store how an answer has ended, one for each `_RENEW_S`."""


class Cancelled(BaseException):
    """The answer is not wanted any more. No `Exception`, as `ClientDisconnected` is none."""


class BackgroundWire(Wire, Protocol):
    """Wire of an answer that is queued first, and may be cancelled.

    `keep` and `give_up` are called with the object of an answer that has ended, before that is told.
    """

    keep: Callable[[dict[str, Any]], None]
    give_up: Callable[[dict[str, Any]], None]

    def queued(self) -> Iterable[Payload]:
        """Return the first messages, before there is a turn."""

    def cancelled(self) -> Iterable[Payload]:
        """Return the last messages of an answer that was cancelled."""

    def snapshot(self) -> dict[str, Any]:
        """Return the object as it stands."""


class Kept(Protocol):
    """What a store has of one background answer. The methods block, and raise `StoreFailed`."""

    def renew(self, snapshot: dict[str, Any]) -> bool:
        """Say that it is worked on; False where it was removed, or ended by somebody else."""

    def settle(self, ended: dict[str, Any]) -> bool:
        """Store how it ended; False as in `renew`."""


class BackgroundAnswer:
    """One answer. `ended` is set when its end is told.

    `begin` blocks. `tell_again` returns the frames of an object that has ended, those behind a number.
    """

    def __init__(
        self,
        begin: Callable[[], Answer],
        wire: BackgroundWire,
        kept: Kept,
        events: EventLog,
        record: RequestRecord,
        *,
        tell_again: Callable[[dict[str, Any], int], bytes],
        tells_defects: bool = False,
        renew_s: float = _RENEW_S,
    ) -> None:
        self.wire = wire
        self.events = events
        self.tell_again = tell_again
        self.ended = Event()
        self._begin = begin
        self._kept = kept
        self._record = record
        self._tells_defects = tells_defects
        self._renew_s = renew_s
        self._answer: Answer | None = None
        self._last: list[Chunk] = []
        self._final: dict[str, Any] | None = None
        self._cause: GatewayError | Cancelled | None = None
        self._has_begun = self._is_stored = self._is_lost = False
        self._follower: gevent.Greenlet[[], BaseException | None] = gevent.Greenlet(self._follow)
        wire.keep = wire.give_up = self._settle

    def response(self) -> dict[str, Any]:
        """Return the object of the answer as it stands."""
        return self.wire.snapshot() if self._final is None else self._final

    def end(self, cause: GatewayError | Cancelled) -> None:
        """End it early, as failed or cancelled. Does not block; what has ended already stays as it is."""
        if self._cause is not None or self._follower.ready():
            return
        self._cause = cause
        if self._has_begun:
            self._follower.kill(cause, block=False)

    def work(self) -> None:
        """Run the answer to its end. Blocks; nothing may interrupt it."""
        self._tell_long(self.wire.queued())
        self._follower.start()
        while not self._follower.ready():
            self._follower.join(self._renew_s)
            self._renew()
        try:
            self._end()
        # Whoever follows it or waits for its end would do so for ever.
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        self.events.end()
        self.ended.set()
        self._record.write()
        for _ in range(_MOST_TRIES):
            if self._is_stored or self._is_lost or self._final is None:
                return
            gevent.sleep(self._renew_s)
            self._store(self._final)

    # The one that follows the turn

    def _follow(self) -> BaseException | None:
        """Tell the answer's events up to its end; return why it came to nothing, None if it did not."""
        self._has_begun = True
        if self._cause is not None:
            return self._cause
        try:
            self._tell_all(self._begun())
        except (GatewayError, Cancelled) as error:
            return error
        # Nobody else would hear of it: a defect ends the answer like any failure.
        except Exception as error:  # noqa: BLE001
            return self._defect(error)
        return None

    def _begun(self) -> Answer:
        begin, self._begin = self._begin, _begun_before  # it has the whole conversation
        self._answer = begin()
        return self._answer

    def _tell_all(self, answer: Answer) -> None:
        for chunks in answer:
            if not chunks:
                continue
            if isinstance(chunks[-1], Cost):
                self._last = chunks  # for the one that nothing interrupts
                return
            answer.commit(chunks)
            self._tell(self.wire.payloads(chunks, answer.summary))

    # The one that nothing interrupts

    def _renew(self) -> None:
        if self._follower.ready():
            return
        try:
            is_ours = self._kept.renew(self.wire.snapshot())
        except StoreFailed:  # logged and counted by the store
            return
        # Its turn goes on, and so does this: only the store is not told.
        except Exception as error:  # noqa: BLE001
            self._defect(error)
            return
        if not is_ours:
            self._is_lost = True
            self.end(Cancelled())

    def _end(self) -> None:
        """Store how it has ended, tell it, and give back what it took."""
        answer, cause = self._answer, self._cause or self._follower.value
        if answer is not None and cause is not None:
            answer.close()  # its turn need not wait for the store
        elif answer is not None:
            cause = self._tell_whole(answer)
        if isinstance(cause, GatewayError):
            self._record.outcome, self._record.error_code = "failed", cause.code
            self._tell_long(self.wire.error(cause))
        elif cause is not None:
            self._record.outcome = "cancelled"
            self._tell_long(self.wire.cancelled())
        if answer is not None:
            self._record.note_answer(answer.summary(), self.wire.reason)
            answer.close()

    def _fail(self, error: Exception) -> None:
        """Note that its end could not be told."""
        self._record.outcome, self._record.error_code = "failed", self._defect(error).code
        if self._answer is not None:
            self._answer.close()

    def _tell_whole(self, answer: Answer) -> BaseException | None:
        """Store an answer that is whole and tell its end; return why that cannot be, None if it was done."""
        try:
            self._tell_long(self.wire.payloads(self._last, answer.summary))
        except Cancelled as error:  # it was removed, or cancelled elsewhere
            return error
        # As for the one that follows the turn.
        except Exception as error:  # noqa: BLE001
            return self._defect(error)
        if self._final is None:
            return self._defect(RuntimeError("an answer without an end"))
        return None

    def _settle(self, ended: dict[str, Any]) -> None:
        """Store how it has ended, before that is told. Raises `Cancelled` for what nobody can have any more."""
        self._store(ended)
        if self._is_lost and ended["status"] in ("completed", "incomplete"):
            raise Cancelled
        self._final = ended

    def _store(self, ended: dict[str, Any]) -> None:
        if self._is_lost:
            return
        try:
            self._is_stored = self._kept.settle(ended)
        except StoreFailed:
            fields = {"request_id": self._record.request_id, "response_id": ended.get("id")}
            log.warning("background_end_not_stored", extra=fields)
            return
        # As if the store had failed: it is told all the same, and tried again.
        except Exception as error:  # noqa: BLE001
            self._defect(error)
            return
        self._is_lost = not self._is_stored

    def _tell(self, payloads: Iterable[Payload]) -> None:
        """Log messages. Does not block: whoever is interrupted has told a chunk as a whole, or not at all."""
        for payload in payloads:
            self.events.append(frame(payload))

    def _tell_long(self, payloads: Iterable[Payload]) -> None:
        """Log messages that repeat whole texts, in milliseconds each: others may run between them."""
        for payload in payloads:
            self.events.append(frame(payload))
            pause()

    def _defect(self, error: Exception) -> GatewayError:
        return unforeseen(error, self._record.request_id, is_told=self._tells_defects)

    def __repr__(self) -> str:
        return f"<BackgroundAnswer {self.response().get('status')} {self.events!r}>"


def _begun_before() -> Answer:
    raise RuntimeError("an answer is begun once")
