"""Load of `codex parity`: many clients at once on one side, how many answers came in a second and how long each took.

Each client has one connection, kept open, as an SDK's client has. Models' own speed is part of every figure: behind a
scripted upstream it is the service that is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from statistics import median, quantiles
from typing import Any

from app.cli.exit_codes import CheckFailed
from app.cli.gateway_client import GatewayClient

_PATH = "/v1/chat/completions"
_OK = 200


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """What came of the requests to one side. Times are milliseconds of those that were answered; `failed` were not."""

    per_s: float
    median_ms: float
    p95_ms: float
    failed: int


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients asked each side so many questions, one side after the other."""

    clients: int
    requests: int
    a: LoadFigures
    b: LoadFigures


def measure_load(gateway: GatewayClient, model: str, clients: int, requests: int) -> LoadFigures:
    """Send `requests` short questions from so many clients. Blocks."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}]}
    numbers = count()

    def ask(client: GatewayClient) -> list[float | None]:
        taken: list[float | None] = []
        with client.keeping_connection() as kept:
            while next(numbers) < requests:
                taken.append(_time_of(kept, body))
        return taken

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        by_client = list(pool.map(ask, [gateway] * clients))
    seconds = time.monotonic() - began
    return _figures([each for taken in by_client for each in taken], seconds)


def _time_of(client: GatewayClient, body: Any) -> float | None:
    """Return how long one whole answer takes, in milliseconds; None where there is none."""
    began = time.monotonic()
    try:
        answer = client.send(_PATH, body)
    except CheckFailed:
        return None
    return (time.monotonic() - began) * 1000 if answer.status == _OK else None


def _figures(taken: Sequence[float | None], seconds: float) -> LoadFigures:
    answered = sorted(each for each in taken if each is not None)
    failed = len(taken) - len(answered)
    if not answered:
        return LoadFigures(0.0, 0.0, 0.0, failed)
    p95 = quantiles(answered, n=20)[-1] if len(answered) > 1 else answered[0]
    return LoadFigures(len(answered) / seconds, median(answered), p95, failed)
