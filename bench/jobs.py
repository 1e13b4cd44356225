"""Jobs of a load generator, its reports, and the closed loop that all generators share.

A generator reads one job a line from stdin and answers each with one report on stdout, so that starting it is never
part of a measurement. Answers are kept raw while the clock runs and are checked after the last one has arrived.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import gevent
import orjson

ANSWER_TIMEOUT_S = 60
MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Job:
    """Ask `prompt` `requests` times, at most `concurrency` at once; the answer has these deltas (0: any) and this hash.

    The clients begin one after the other within `spread_s`. Answers that are paced all last equally long, so clients
    that began together would stay together and meet the child as a burst, again and again. Where they are not
    `streamed`, answers over HTTP are asked for as one object, so that their deltas cannot be counted.
    """

    model: str
    prompt: str
    concurrency: int
    requests: int
    deltas: int
    sha256: str
    spread_s: float = 0.0
    streamed: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """One entry in each list for each complete answer; `wrong` counts the others, `examples` says what was wrong."""

    first_ms: list[float]
    total_ms: list[float]
    wall_s: float
    wrong: int = 0
    examples: list[str] = field(default_factory=list)


class AnswerError(Exception):
    """A question got no answer that could be checked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """When it was asked, when its first delta came and when it was over; `pieces` unpacks its deltas."""

    asked: float
    first: float
    ended: float
    pieces: Callable[[], list[str]]


class Client(Protocol):
    """One of `Job.concurrency` askers."""

    def ask(self) -> Answer:
        """Ask once. Blocks; raises `AnswerError` or `OSError`."""

    def close(self) -> None:
        """Give back what the client holds."""


Handler = Callable[[dict[str, Any]], Any]
"""Does a job of one kind: its fields in, a report (a dataclass) out."""


def serve(handlers: Mapping[str, Handler]) -> None:
    """Do jobs until stdin ends. Each line is an object with the kind of the job and its fields."""
    for line in sys.stdin.buffer:
        message = orjson.loads(line)
        tell(asdict(handlers[message["kind"]](message["job"])))


def questions(connect: Callable[[Job], Client], *, deltas_told: bool = True) -> Handler:
    """Return the handler of jobs of single questions. Of a side that tells no deltas, only the text is checked."""

    def handle(fields: dict[str, Any]) -> Report:
        job = Job(**fields)
        return run(job if deltas_told and job.streamed else replace(job, deltas=0), connect)

    return handle


def tell(message: dict[str, object]) -> None:
    """Write one line to the parent."""
    sys.stdout.write(orjson.dumps(message).decode() + "\n")
    sys.stdout.flush()


def run(job: Job, connect: Callable[[Job], Client]) -> Report:
    """Ask in a closed loop: each client asks again as soon as it has its answer."""
    clients = [connect(job) for _ in range(min(job.concurrency, job.requests))]
    left = iter(range(job.requests))

    def keep_asking(client: Client) -> list[Answer | str]:
        return [_ask(client) for _ in left]

    began = time.perf_counter()
    gap_s = job.spread_s / len(clients)
    askers = [
        gevent.spawn_later(place * gap_s, keep_asking, client)
        for place, client in enumerate(clients)
    ]
    gevent.joinall(askers, raise_error=True)
    wall_s = time.perf_counter() - began
    for client in clients:
        client.close()
    return _check(job, [outcome for asker in askers for outcome in asker.value or ()], wall_s)


def _ask(client: Client) -> Answer | str:
    try:
        with gevent.Timeout(ANSWER_TIMEOUT_S, AnswerError("no end in time")):
            return client.ask()
    except (AnswerError, OSError) as error:
        return str(error) or type(error).__name__


def _check(job: Job, outcomes: list[Answer | str], wall_s: float) -> Report:
    report = Report([], [], wall_s)
    complaints = []
    for outcome in outcomes:
        complaint = outcome if isinstance(outcome, str) else _complaint(job, outcome.pieces())
        if isinstance(outcome, str) or complaint:
            complaints.append(complaint)
            continue
        report.first_ms.append((outcome.first - outcome.asked) * 1000)
        report.total_ms.append((outcome.ended - outcome.asked) * 1000)
    examples = complaints[:MOST_EXAMPLES]
    return Report(report.first_ms, report.total_ms, wall_s, len(complaints), examples)


def _complaint(job: Job, pieces: list[str]) -> str:
    if job.deltas and len(pieces) != job.deltas:
        return f"{len(pieces)} of {job.deltas} deltas"
    return "" if digest(pieces) == job.sha256 else "another text than the script's"


def digest(pieces: list[str]) -> str:
    """Return the hash of the whole text."""
    return hashlib.sha256("".join(pieces).encode()).hexdigest()
