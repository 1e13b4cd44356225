"""Engine: starts turns on a backend, and lets one turn take another's place.

Login, slots, deadline, all or none, one more try where the process went away: decided here, once for every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType

from app.backend.admission import ANONYMOUS, Admission, Slot, SlotRequest
from app.backend.health import Health
from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER, RequestObserver
from app.backend.protocols import Backend, Turn
from app.backend.request import Model, TurnRequest
from app.errors import WorkerLost
from app.step_log import is_logged, passed, step


class Admitted(AbstractContextManager["Admitted"]):
    """Slots that a request was given, until its turns have them. A failure inside the `with` gives them back.

    `deadline` (monotonic seconds) covers the wait for slots and the wait for the backend together. `follows_loss` says
    that a process went away under the request.
    """

    def __init__(
        self, slots: Sequence[Slot], deadline: float, *, follows_loss: bool = False
    ) -> None:
        self.slots = slots
        self.deadline = deadline
        self.follows_loss = follows_loss

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the slots back if the request failed."""
        if kind is not None:
            self.release()

    def release(self) -> None:
        """Give back every slot that no turn has taken. Idempotent."""
        for slot in self.slots:
            slot.release()


class Engine:
    """The one door to a backend's turns. `queue_s` is how long a request may wait before its turns begin."""

    def __init__(self, backend: Backend, admission: Admission, queue_s: float) -> None:
        self.backend = backend
        self.admission = admission
        self._queue_s = queue_s

    def models(self) -> tuple[Model, ...]:
        """Return the models on offer; blocks while the backend starts. Raises `WorkerUnavailable`."""
        return self.backend.models(ANONYMOUS.deadline(self._queue_s))

    def health(self) -> Health:
        """Return the backend's state, and how many turns run and wait. Does not block."""
        waiting, running = self.admission.waiting, self.admission.running
        health = self.backend.health()
        return replace(health, backend=self.backend.kind, running=running, waiting=waiting)

    def admit(
        self,
        count: int = 1,
        slot_request: SlotRequest = ANONYMOUS,
        observer: RequestObserver = NULL_OBSERVER,
    ) -> Admitted:
        """Wait for `count` slots: all or none. Blocks; raises `UpstreamAuth`, `WorkerBusy`."""
        self.backend.check_login()
        longest_s = slot_request.within_s if slot_request.is_patient else self._queue_s
        deadline = slot_request.deadline(self._queue_s)
        with step("backend.admit", slots=count), observer.waiting():
            slots = self.admission.acquire(longest_s, count, slot_request)
        if slot_request.is_patient:
            deadline = ANONYMOUS.deadline(self._queue_s)  # the wait for the backend only begins
        return Admitted(slots, deadline)

    def start(
        self,
        requests: Sequence[TurnRequest],
        admitted: Admitted,
        observer: RequestObserver = NULL_OBSERVER,
    ) -> list[Turn]:
        """Begin a turn for each request, on the slots given: all or none. The caller closes them.

        Blocks. Raises what `Backend.open` raises; on failure the slots are still `admitted`'s.
        """
        try:
            return self._open_all(requests, admitted, observer)
        except WorkerLost:
            if admitted.follows_loss:
                raise  # what was there when two processes died may be why they did
            # The process went away before a word was said: the next one can do it.
            admitted.follows_loss = True
            return self._open_all(requests, admitted, observer)

    def reopen(
        self,
        turn: Turn,
        request: TurnRequest,
        slot_request: SlotRequest = ANONYMOUS,
        observer: RequestObserver = NULL_OBSERVER,
    ) -> Turn:
        """Close `turn` and begin another on its slot. Blocks; raises what `admit` and `start` raise."""
        deadline = slot_request.deadline(self._queue_s)
        follows_loss = turn.lease.follows_loss or isinstance(turn.facts.error, WorkerLost)
        slot = turn.lease.transfer()
        turn.close()
        slots = [slot] if slot else self.admission.acquire(self._queue_s, slot_request=slot_request)
        with Admitted(slots, deadline, follows_loss=follows_loss) as admitted:
            (new,) = self.start((request,), admitted, observer)
            return new

    def _open_all(
        self, requests: Sequence[TurnRequest], admitted: Admitted, observer: RequestObserver
    ) -> list[Turn]:
        turns: list[Turn] = []
        try:
            # One by one: whatever fails, the turns that were begun are known and can be closed.
            for request, slot in zip(requests, admitted.slots, strict=True):
                with step("backend.open", model=request.model, items=len(request.items)):
                    lease = Lease(slot, follows_loss=admitted.follows_loss)
                    turn = self.backend.open(request, lease, admitted.deadline, observer)
                turns.append(turn)
                if is_logged():
                    passed("backend.opened", thread_id=turn.facts.thread_id)
        except BaseException:
            for turn in turns:
                turn.lease.transfer()  # the slot stays with `admitted`
                turn.close()
            raise
        return turns
