"""`python -m bench`: options, the run, the table. Exits 1 if any answer was wrong, 2 if something did not start."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from codex_cli_bin import bundled_codex_path

from bench import processes, report
from bench.jobs import Job, digest
from bench.measure import Series
from bench.processes import Side, StartError
from scripted_upstream.client import Control

_QUICK = {"requests": 25, "rounds": 2, "requests_a_client": 4}
_WARM_UP = 10


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="The gateway against a minimal client of the same codex app-server.",
    )
    parser.add_argument("--requests", type=int, default=50, help="in each round of a side")
    parser.add_argument(
        "--requests-a-client",
        type=int,
        default=8,
        help="at least so many, or the burst at a round's start would be most of it",
    )
    parser.add_argument("--rounds", type=int, default=10, help="for each side of a cell")
    parser.add_argument("--concurrency", default="1,8,32", help="the cells, like 1,8,32")
    parser.add_argument("--deltas", type=int, default=50, help="in each answer")
    parser.add_argument("--interval-ms", type=float, default=0, help="between deltas; 0: unpaced")
    parser.add_argument("--flood", type=int, default=20_000, help="deltas of the one long stream")
    parser.add_argument("--quick", action="store_true", help="a run of under 20 seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(_QUICK)
    options.concurrency = [int(word) for word in options.concurrency.split(",")]
    if min([options.requests, options.rounds, options.deltas, options.flood]) < 1:
        parser.error("every count must be at least 1")
    if min(options.concurrency) < 1:
        parser.error("--concurrency: at least 1")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run everything; return the exit code."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process is still ended
    try:
        result = run(options)
    except StartError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(report.table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    cells = [*result["cells"].values(), result["flood"]]
    return 1 if any(sum(found["wrong"].values()) for found in cells) else 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start both sides, measure every cell, end everything; return the result."""
    binary = Path(os.environ.get("CODEX_BIN") or bundled_codex_path())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        homes = {name: folder / name for name in ("gateway", "direct")}
        for home in homes.values():
            home.mkdir(mode=0o700)
        url, pid = stack.enter_context(processes.upstream(folder))
        running = stack.enter_context(processes.gateway(url, homes["gateway"], binary))
        facts = report.machine(running.user_agent)
        sides = (
            stack.enter_context(processes.through_gateway(running, homes["gateway"], pid)),
            stack.enter_context(processes.directly(url, homes["direct"], binary, pid)),
        )
        control = Control(url)
        answer = _script(control, running.model, options.deltas, options.interval_ms)
        flood = _script(control, running.model, options.flood, 0)
        for side in sides:
            side.run(_sized(answer, 1, _WARM_UP))
            side.run(_sized(answer, max(options.concurrency), _WARM_UP))
        cells = {}
        for clients in options.concurrency:
            requests = max(options.requests, clients * options.requests_a_client)
            cells[str(clients)] = report.cell(
                *_alternate(sides, _sized(answer, clients, requests), options.rounds)
            )
        flooded = _alternate(sides, flood, options.rounds)
    return {
        "machine": facts,
        "options": vars(options) | {"json": None},
        "cells": cells,
        "flood": report.flood_cell(*flooded, options.flood),
    }


def _script(control: Control, model: str, deltas: int, interval_ms: float) -> Job:
    """Give the upstream a script; return the job that asks for it once. No two deltas are alike."""
    marker = f"bench-{secrets.token_hex(4)}"
    pieces = [f"w{number:x} " for number in range(deltas)]
    message = {"type": "message", "deltas": pieces}
    control.script(marker, {"items": [message], "interval_ms": interval_ms})
    prompt = f"Please answer as {marker} says."
    spread_s = deltas * interval_ms / 1000
    return Job(model, prompt, 1, 1, deltas, digest(pieces), spread_s)


def _sized(job: Job, clients: int, requests: int) -> Job:
    return replace(job, concurrency=clients, requests=requests)


def _alternate(sides: tuple[Side, Side], job: Job, rounds: int) -> tuple[Series, Series]:
    """Let the sides take turns, so that whatever else the machine does meets both alike."""
    series = (Series(), Series())
    for _ in range(rounds):
        for side, collected in zip(sides, series, strict=True):
            collected.add(*side.run(job))
    return series


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
