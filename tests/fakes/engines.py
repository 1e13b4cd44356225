"""Engine over an app-server backend, with the shortcuts that its tests take."""

from __future__ import annotations

from typing import cast

from app.backend.admission import Admission
from app.backend.engine import Engine
from app.backend.observer import NULL_OBSERVER, RequestObserver
from app.backend.request import TurnRequest
from app.backends.app_server.backend import AppServerBackend
from app.backends.app_server.turn import Turn
from app.process.supervisor import Supervisor


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
