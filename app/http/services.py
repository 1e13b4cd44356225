"""Services of one worker: everything that a request needs of the application, made once by the factory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask

from app.answer_store.stored_answer import AnswerStore
from app.answers.model_names import Names
from app.answers.prepare import Preparation
from app.backend.engine import Engine
from app.backend.protocols import Pace
from app.http.background_answers import BackgroundAnswers
from app.http.body_budget import BodyBudget
from app.http.maintenance_flag import MaintenanceFlag
from app.http.open_streams import OpenStreams
from app.http.open_websockets import OpenWebSockets
from app.http.request_context import current_application
from app.observability.gauges import Gauges
from app.observability.metrics import Metrics
from app.observability.recent import Recent
from app.observability.trace_buffer import TraceBuffer
from app.observability.usage_recorder import UsageRecorder
from app.off_loop import OffLoop

_EXTENSION = "services"


@dataclass(frozen=True, slots=True)
class Options:
    """What the layers above the engine need of the settings."""

    max_choices: int
    shows_reasoning: bool
    commentary_is_reasoning: bool
    max_body_bytes: int
    body_timeout_s: float
    log_level: str
    system_fingerprint: str
    versions: Mapping[str, str]
    tells_defects: bool


@dataclass(frozen=True, slots=True)
class Services:
    """See the module. `counters` counts what is odd but survived, `reload_report` says what became of the last HUP.

    `worker_report` says which worker this is.
    """

    options: Options
    engine: Engine
    pace: Pace
    model_names: Names
    preparation: Preparation
    answer_store: AnswerStore
    bodies: BodyBudget
    open_streams: OpenStreams
    websockets: OpenWebSockets
    background: BackgroundAnswers
    maintenance: MaintenanceFlag
    metrics: Metrics
    gauges: Gauges
    recent: Recent
    traces: TraceBuffer
    usage: UsageRecorder
    counters: Counter[str]
    reload_report: Callable[[], dict[str, Any]]
    worker_report: Callable[[], dict[str, Any]]
    off_loop: OffLoop


def init_app(app: Flask, services: Services) -> None:
    """Give the application its services."""
    app.extensions[_EXTENSION] = services


def services() -> Services:
    """Return the services of the application that serves the current request."""
    found: Services = current_application().extensions[_EXTENSION]
    return found
