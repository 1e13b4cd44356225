"""Reconciliation of the three records of a storm: what clients saw, what the log says, what the metrics count."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from app.observability.labels import code as label
from tests.chaos.checks import Ending, Result
from tests.chaos.ledger import Ledger
from tests.chaos.request_kinds import BELOW_THE_APPLICATION, CANARY
from tests.e2e.harness import KEY, Gateway
from tests.e2e.scrape import Samples
from tests.fakes.growing_file import whole_lines

Line = dict[str, Any]

OUTCOMES = {
    Ending.WHOLE_STREAM: {"completed"},
    Ending.WHOLE: {"completed"},
    Ending.FAILED_STREAM: {"failed"},
    Ending.REFUSED: {"failed", "completed"},
}
"""What the log says of a request, by how its client saw it end."""


def lines_by_request(entries: Iterable[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    for entry in entries:
        if entry["event"] == "request":
            found[entry["request_id"]].append(entry)
    return found


def must_be_logged(result: Result) -> bool:
    """Say whether the log must have a line: not for one that was reset, or not sent whole, or lost with its worker."""
    asked = result.asked
    is_certain = asked.leaves != "resets" and not asked.kind.startswith("half-sent")
    return is_certain and result.ending not in {Ending.LOST, Ending.BROKEN}


def compare_with_log(results: Iterable[Result], entries: Iterable[Line]) -> list[str]:
    """Return where the log tells another story than a client."""
    lines = lines_by_request(entries)
    problems = []
    for result in results:
        found = lines[result.asked.id]
        name = f"{result.asked.id} ({result.asked.kind}, {result.ending.value})"
        if result.asked.kind in BELOW_THE_APPLICATION:
            if found:
                problems.append(f"{name} has a line")
        elif len(found) > 1 or (must_be_logged(result) and not found):
            problems.append(f"{name} has {len(found)} lines")
        elif found and result.ending in OUTCOMES:
            problems += [f"{name}: {problem}" for problem in _differences(result, found[0])]
    return problems


def _differences(result: Result, line: Line) -> list[str]:
    told = (line["status"], line.get("error_code"))
    seen = (result.status, result.code)
    found = [f"the client saw {seen}, the log says {told}"] if told != seen else []
    if line["outcome"] not in OUTCOMES[result.ending]:
        found.append(f"the log says {line['outcome']}")
    return found


def logged(entries: Iterable[Line]) -> Counter[tuple[str, ...]]:
    """Count the log's lines as the metric does."""
    return Counter(
        (line["route"], line["method"], str(line["status"]), label(line.get("error_code")))
        for line in entries
        if line["event"] == "request" and is_of_clients(line["route"])
    )


def counted(samples: Samples) -> Counter[tuple[str, ...]]:
    """Return what the metric counts."""
    found: Counter[tuple[str, ...]] = Counter()
    for (name, labels), value in samples.items():
        series = dict(labels)
        if name == "codex_http_requests_total" and is_of_clients(series["route"]):
            found[tuple(series[part] for part in ("route", "method", "status", "code"))] = int(
                value
            )
    return found


def is_of_clients(route: str) -> bool:
    """Not of the probes, which go on while the records are compared."""
    return route.startswith("/v1/") or route == "unmatched"


def compare_with_metrics(entries: list[Line], samples: Samples) -> list[str]:
    """Return where the metrics count something else than the log has lines."""
    in_log, in_metrics = logged(entries), counted(samples)
    return [
        f"{' '.join(key)}: {in_log[key]} lines, counted {in_metrics[key]}"
        for key in sorted({*in_log, *in_metrics})
        if in_log[key] != in_metrics[key]
    ]


SECRETS = (CANARY, KEY, "upstream-key")
UNEXPECTED_EVENTS = frozenset({"unforeseen_error", "rpc_dispatch_failed", "request_failed"})


def faults_of_the_log(gateway: Gateway) -> tuple[int, list[str]]:
    """Return how many lines the log has, and which of them no log should have."""
    problems = []
    lines = whole_lines(gateway.log_path)
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError:
            problems.append(f"line {number} is no JSON: {line[:120]!r}")
            continue
        if entry["event"] in UNEXPECTED_EVENTS:
            problems.append(f"line {number}: {entry['event']} {entry.get('exception')}")
        problems += [f"line {number} holds {secret[:6]}…" for secret in SECRETS if secret in line]
    return len(lines), problems


def tell_loop(ledger: Ledger, entries: Iterable[Line]) -> None:
    """Add the longest time that the event loop was held up, by the clock and in CPU; short ones have no line."""
    delays = [entry for entry in entries if entry["event"] == "loop_delayed"]
    for name in ("delay_ms", "cpu_ms"):
        longest = max((entry[name] for entry in delays), default="under 50")
        ledger.figure(f"longest time that the loop was held up ({name})", longest)


def log_entries(gateway: Gateway) -> list[Line]:
    """Return every line that is JSON; what is none is told by `faults_of_the_log`."""
    lines = whole_lines(gateway.log_path)
    return [json.loads(line) for line in lines if line.startswith("{")]
