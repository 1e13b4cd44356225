"""Engine over an app-server backend, and what its tests ask and hear."""

from __future__ import annotations

from typing import cast

from app.backend.admission import Admission
from app.backend.engine import Engine
from app.backend.events import Event, TextDelta, TextRun
from app.backend.observer import NULL_OBSERVER, RequestObserver
from app.backend.protocols import Pace
from app.backend.request import TurnRequest
from app.backends.app_server.backend import AppServerBackend
from app.backends.app_server.limits import Limits
from app.backends.app_server.turn import Turn
from app.process.supervisor import Supervisor
from tests.fakes.waiting import DEADLINE_S, deadline

MODEL = "gpt-5.5"
PATIENT = Pace(first_s=DEADLINE_S, total_s=DEADLINE_S, commit_s=DEADLINE_S, tick_s=DEADLINE_S)
LIMITS = Limits(
    rpc_timeout_ms=10_000,
    startup_timeout_ms=10_000,
    backoff_initial_ms=10,
    backoff_max_ms=40,
)
HELLO = {"items": [{"type": "message", "deltas": ["Grü", "ße ", "ße ", "✓", " 𝄞"]}]}


class AppServerEngine(Engine):
    """Four slots, four places in the queue, twenty seconds to wait in it, unless a test says otherwise."""

    backend: AppServerBackend

    def __init__(
        self,
        backend: AppServerBackend,
        *,
        max_concurrency: int = 4,
        queue_max: int = 4,
        queue_s: float = 20,
    ) -> None:
        super().__init__(backend, Admission(max_concurrency, queue_max), queue_s)

    @property
    def supervisor(self) -> Supervisor:
        return self.backend.supervisor

    def start_turns(
        self, *requests: TurnRequest, observer: RequestObserver = NULL_OBSERVER
    ) -> list[Turn]:
        with self.admit(len(requests), observer=observer) as admitted:
            return cast("list[Turn]", self.start(requests, admitted, observer))


def say(text: str) -> TurnRequest:
    content = [{"type": "input_text", "text": f"say {text}"}]
    return TurnRequest(MODEL, ({"type": "message", "role": "user", "content": content},))


def follow(turn: Turn) -> list[Event]:
    with deadline():
        return [event for batch in turn.follow(PATIENT) for event in batch]


def texts(events: list[Event]) -> list[str]:
    found: list[str] = []
    for event in events:
        if isinstance(event, TextRun):
            found += event.texts
        elif isinstance(event, TextDelta):
            found.append(event.text)
    return found
