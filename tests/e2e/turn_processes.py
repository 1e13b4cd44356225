"""Processes of single turns: those that a gateway has, and what they leave behind."""

from __future__ import annotations

import psutil

from tests.e2e.harness import Gateway, wait_until
from tests.e2e.in_flight import child


def codex_of(gateway: Gateway) -> list[psutil.Process]:
    """Every codex process, one that nobody has waited for included."""
    return [one for one in gateway.master().children(recursive=True) if one.name() == "codex"]


def await_nobody(gateway: Gateway) -> None:
    wait_until(lambda: not codex_of(gateway), "no codex process is left")
    wait_until(lambda: child(gateway)["pids"] == [], "none is counted")


def files_of(gateway: Gateway) -> list[str]:
    """What is in CODEX_HOME, but for traces and the store, which are the gateway's own and written when they are."""
    found = (str(path.relative_to(gateway.home)) for path in gateway.home.rglob("*"))
    return sorted(path for path in found if "trace" not in path and "/answers-" not in path)


def descriptors(gateway: Gateway) -> int:
    return sum(worker.num_fds() for worker in gateway.workers())
