"""Load of `codex parity`: many clients at once on one side, how many answers came in a second and how long each took.

A time is that of one short question, from before it is sent until its whole answer has been read. Each client has one
connection, kept open, as an SDK's client has, and does little beside (`repeated_request`). The sides take turns, so
that what else the machine does meets both. Models' own speed is part of every figure; scripted upstreams are told to
answer at once, so that it is the service that is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from statistics import median, quantiles

from app.cli.parity_replay import Side, scripted
from app.cli.repeated_request import Ask, RepeatedRequest

_PATH = "/v1/chat/completions"
_QUESTION = "Say hello."
_AT_ONCE = {
    "marker": "hello.",  # of the question
    "script": {"items": [{"type": "message", "deltas": ["Hello."]}]},
}
_ROUNDS = 4
"""How often the sides take turns; each begins every other time."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """So many clients ask each side so many questions; `pause_s` is how long each waits before its next one."""

    clients: int
    requests: int
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """What came of the requests to one side. Times are milliseconds of those that were answered; `failed` were not."""

    per_s: float
    median_ms: float
    p95_ms: float
    failed: int


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked of both sides, and what came of it."""

    plan: LoadPlan
    a: LoadFigures
    b: LoadFigures


@dataclass(slots=True)
class _Taken:
    """How long each answer took, None where there was none, and how long all of them together."""

    ms: list[float | None] = field(default_factory=list)
    seconds: float = 0.0


def measure_load(sides: tuple[Side, Side], model: str, plan: LoadPlan) -> Load:
    """Send the requests. Blocks; raises `CheckFailed` where a scripted upstream cannot be told what to say."""
    body = {"model": model, "messages": [{"role": "user", "content": _QUESTION}]}
    taken = _Taken(), _Taken()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(plan.clients))
        for side in sides:
            stack.enter_context(scripted(side.upstream, _AT_ONCE))
        clients = []
        for side in sides:
            question = RepeatedRequest(side.gateway, _PATH, body)
            clients.append([stack.enter_context(question.client()) for _ in range(plan.clients)])
        for number in range(rounds := min(_ROUNDS, plan.requests)):
            share = plan.requests // rounds + (number < plan.requests % rounds)
            for which in ((0, 1), (1, 0))[number % 2]:
                _ask(pool, clients[which], share, plan.pause_s, taken[which])
    return Load(plan, *map(_figures, taken))


def _ask(
    pool: Executor,
    clients: Sequence[Ask],
    requests: int,
    pause_s: float,
    taken: _Taken,
) -> None:
    """Let all clients ask until so many requests were sent."""
    numbers = count()

    def ask(client: Ask) -> list[float | None]:
        times: list[float | None] = []
        while next(numbers) < requests:
            time.sleep(pause_s)
            times.append(_time_of(client))
        return times

    began = time.perf_counter()
    for times in pool.map(ask, clients):
        taken.ms += times
    taken.seconds += time.perf_counter() - began


def _time_of(ask: Ask) -> float | None:
    """Return how long one whole answer takes, in milliseconds; None where there is none."""
    began = time.perf_counter()
    is_answered = ask()
    return (time.perf_counter() - began) * 1000 if is_answered else None


def _figures(taken: _Taken) -> LoadFigures:
    answered = sorted(each for each in taken.ms if each is not None)
    failed = len(taken.ms) - len(answered)
    if not answered:
        return LoadFigures(0.0, 0.0, 0.0, failed)
    p95 = quantiles(answered, n=20)[-1] if len(answered) > 1 else answered[0]
    return LoadFigures(len(answered) / taken.seconds, median(answered), p95, failed)
