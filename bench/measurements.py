"""Measurements of one run: every side is started, every cell measured, and everything ended."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from codex_cli_bin import bundled_codex_path

from bench import cells, loop_cells, peers, relay, sides, untuned
from bench.agent_loop import LoopJob
from bench.sides import Place, Side
from scripted_upstream.client import Control

SIDES = ("gateway", "cold", "warm", "kept", "naive", "exec", "plain-exec")

_WARM_UP = 10
_DEFAULT_SLOTS = 64
_PACED_REQUESTS = 20
_PACED_ROUNDS = 3


def binary() -> Path:
    """Return the codex that is measured."""
    return Path(os.environ.get("CODEX_BIN") or bundled_codex_path())


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start what is compared, measure every cell, end everything; return the result. Raises `StartError`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        url, pid = stack.enter_context(sides.upstream(folder))
        child = untuned.binary_without(options.without, binary(), folder)
        place = Place(folder, child, url, pid, websockets=options.websockets)
        if options.relay:
            place = stack.enter_context(relay.in_front(place))
        slots = str(max([_DEFAULT_SLOTS, *(2 * clients for clients in options.concurrency)]))
        settings = {"WORKER_MAX_CONCURRENCY": slots}
        running = stack.enter_context(sides.gateway(place, settings))
        facts = machine(running.user_agent)
        started = [stack.enter_context(side) for side in _starts(options.sides, place, running)]
        if options.control:
            before = stack.enter_context(sides.gateway(place, settings, "control", options.control))
            side = sides.through_gateway(place, before, "control")
            started.append(stack.enter_context(side))
        if options.peers:
            plain = Place(folder, child, url, pid)  # they have no way to be told of a private CA
            started += stack.enter_context(peers.running(plain, running.model))
        measured = _measure(options, started, Control(url), running.model)
    said = vars(options) | {"json": None, "plots": None, "control": bool(options.control)}
    return {"machine": facts, "options": said, **measured}


def _starts(names: Sequence[str], place: Place, running: sides.Gateway) -> Iterator[Any]:
    for name in names:
        if name == "gateway":
            yield sides.through_gateway(place, running)
        elif name in ("exec", "plain-exec"):
            yield sides.by_exec(place, name)
        else:
            yield sides.directly(place, name)


def _measure(
    options: argparse.Namespace, started: list[Side], control: Control, model: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for interval_ms in options.interval_ms:
        job = cells.scripted(control, model, options.deltas, interval_ms)
        for side in started:
            side.run(cells.sized(job, 1, _WARM_UP if not interval_ms else 1))
        for clients in options.concurrency:
            pace = f"{interval_ms:g} ms, " if interval_ms else ""
            found[f"{pace}c={clients}"] = _cell(
                options, started, job, clients, paced=bool(interval_ms)
            )
            if options.whole and not interval_ms:
                whole, able = replace(job, streamed=False), _all_but_streaming(started)
                found[f"whole, c={clients}"] = _cell(options, able, whole, clients, paced=False)
    flood: dict[str, Any] = {}
    if options.flood:
        streaming = [side for side in started if side.name in SIDES and not side.reaps]
        job = cells.scripted(control, model, options.flood, 0)
        flood = cells.flood(streaming, job, options.rounds)
    return {"cells": found, "flood": flood, "loops": _loops(options, started, control, model)}


def _cell(
    options: argparse.Namespace, started: list[Side], job: Any, clients: int, *, paced: bool
) -> dict[str, Any]:
    """Paced answers take long whatever answers them: fewer of them tell as much."""
    requests = max(options.requests, clients * options.requests_a_client)
    rounds = options.rounds
    if paced:
        requests = max(min(options.requests, _PACED_REQUESTS), clients * 2)
        rounds = min(options.rounds, _PACED_ROUNDS)
    return cells.measure(started, cells.sized(job, clients, requests), rounds)


def _loops(
    options: argparse.Namespace, started: list[Side], control: Control, model: str
) -> dict[str, Any]:
    if not options.loop_repeats:
        return {}
    job = LoopJob(model, [], options.loop_rounds, options.result_chars, streamed=True)
    found = {}
    for workload in loop_cells.WORKLOADS:
        if workload.at_once <= options.most_loops:
            able = [side for side in started if _can(side, workload)]
            found[workload.name] = loop_cells.measure(
                able, control, workload, job, options.loop_repeats
            )
    return found


def _all_but_streaming(started: list[Side]) -> list[Side]:
    return [side for side in started if not side.only_streams]


def _can(side: Side, workload: loop_cells.Workload) -> bool:
    is_told_whole = workload.streamed or not side.only_streams
    return workload.at_once <= side.most_loops and is_told_whole


def machine(user_agent: str) -> dict[str, Any]:
    """Return the facts without which no figure means anything."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "codex": user_agent.partition(" ")[0].rpartition("/")[2] or user_agent,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
