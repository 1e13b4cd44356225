"""Turns of a per-request backend: begun, followed to their end, and gone with their processes."""

from __future__ import annotations

import time

from app.backend.lease import Lease
from app.backend.observer import NULL_OBSERVER
from app.backend.protocols import Pace, Turn
from app.backend.request import TurnRequest
from app.backends.per_request.backend import PerRequestBackend
from tests.fakes.engines import PATIENT, texts
from tests.fakes.waiting import DEADLINE_S, deadline, eventually


def begin(
    backend: PerRequestBackend,
    request: TurnRequest,
    lease: Lease | None = None,
    within_s: float = DEADLINE_S,
) -> Turn:
    until = time.monotonic() + within_s
    return backend.open(request, lease or Lease(), until, NULL_OBSERVER)


def answer_to(backend: PerRequestBackend, request: TurnRequest, pace: Pace = PATIENT) -> str:
    with deadline():
        turn = begin(backend, request)
        try:
            return "".join(piece for batch in turn.follow(pace) for piece in texts(batch))
        finally:
            turn.close()


def await_nobody(backend: PerRequestBackend) -> None:
    eventually(lambda: backend.health().pids == ())
