"""What happens to the service in a storm, one function a kind of fault, and how long it takes to be ready again."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.chaos.plan import WORKER_KILL, Fault
from tests.e2e.harness import ROOT, Gateway, wait_until

READY_WITHIN_S = 15.0
"""The bound for every fault: from its end to a `/readyz` that says yes, on a machine that is busy with the storm."""

DISRUPTIVE = frozenset({"kill", "kill again and again", "freeze", "kill in a reload", WORKER_KILL})
"""Who meets one of these may get an error. All others must not be felt."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that is over. Times are of the monotonic clock."""

    fault: Fault
    began: float
    ended: float
    ready_s: float

    @property
    def is_disruptive(self) -> bool:
        return self.fault.kind in DISRUPTIVE

    def touches(self, began: float, ended: float) -> bool:
        """Say whether somebody who was there in that time met it."""
        return began <= self.ended + self.ready_s and ended >= self.began


def fault_injecting_binary(folder: Path) -> str:
    """Write the program that stands in for the codex binary; return its path."""
    folder.mkdir()
    wrapper = folder / "codex"
    shim = ROOT / "tests" / "fakes" / "fault_injecting_codex.py"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{shim}" "{folder}" "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def inject(folder: Path, pid: int, words: str) -> str:
    """Inject a fault into the pipe of the child with this pid; return its answer. Blocks until it is done."""
    port = int((folder / str(pid)).read_text())
    with (
        socket.create_connection(("127.0.0.1", port), 30) as connection,
        connection.makefile("rw") as lines,
    ):
        lines.write(words + "\n")
        lines.flush()
        return lines.readline().strip()


class Faults:
    """Lets planned faults happen to a gateway, one after the other."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway = gateway
        self._folder = folder
        self._killed: set[int] = set()  # children that the service may not have missed yet
        self.happened: list[Happened] = []

    def run(self, faults: Iterable[Fault]) -> None:
        """Let each happen at its time, or when the service is ready again after the one before."""
        start = time.monotonic()
        for fault in faults:
            threading.Event().wait(start + fault.at_s - time.monotonic())
            began = time.monotonic()
            HAPPENS[fault.kind](self, fault.size)
            ended = time.monotonic()
            wait_until(self._is_ready, f"ready again after {fault.kind}", READY_WITHIN_S)
            self.happened.append(Happened(fault, began, ended, time.monotonic() - ended))

    def met(self, began: float, ended: float, kinds: Iterable[str] = DISRUPTIVE) -> bool:
        """Say whether a fault of these kinds touched that time."""
        wanted = {*kinds}
        return any(one.fault.kind in wanted and one.touches(began, ended) for one in self.happened)

    def _is_ready(self) -> bool:
        answer = self._gateway.get("/readyz")
        return answer.status_code == 200 and answer.json()["child"]["pid"] not in self._killed

    def serving_child(self) -> psutil.Process:
        """Return the real binary below the child of the worker that accepts."""
        child: psutil.Process = wait_until(self._find_serving_child, "the real binary runs")
        return child

    def _find_serving_child(self) -> psutil.Process | None:
        shim = self._gateway.get("/healthz").json()["child"]["pid"]
        return next(iter(psutil.Process(shim).children()), None) if shim else None

    def _codex_processes(self) -> list[psutil.Process]:
        """Return every real binary, while they come and go."""
        found = []
        for process in self._gateway.master().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name() == "codex" and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def inject(self, words: str) -> str:
        return inject(self._folder, self.serving_child().pid, words)

    def kill(self, size: float) -> None:
        """More than half of the time the real binary alone, else its whole session, as an operator would."""
        child = self.serving_child()
        shim = child.parent()
        assert shim is not None
        self._killed.add(shim.pid)
        child.kill() if size < 0.3 else shim.kill()

    def kill_again(self, seconds: float) -> None:
        """Kill every process of codex as soon as it is there: no start succeeds, and the wait before each grows."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for process in self._codex_processes():
                with suppress(psutil.NoSuchProcess):
                    self._killed.add(process.ppid())
                    process.kill()
            threading.Event().wait(0.05)

    def freeze(self, _: float) -> None:
        """It is never thawed: the service has to find it hung and replace it."""
        child = self.serving_child()
        child.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_gone(child.pid), "the hung child is replaced")

    def lasting(self, fault: str, seconds: float) -> None:
        self.inject(f"{fault} {seconds}")
        threading.Event().wait(seconds)

    def reload(self, _: float) -> None:
        """Ask for a reload and do not wait for it: the next faults meet the service in the middle of one."""
        self._gateway.process.send_signal(signal.SIGHUP)

    def kill_in_a_reload(self, _: float) -> None:
        """Kill the first process of codex that the new worker starts, as soon as it is there."""
        before = {process.pid for process in self._codex_processes()}
        self._gateway.process.send_signal(signal.SIGHUP)
        new = wait_until(
            lambda: [p for p in self._codex_processes() if p.pid not in before],
            "the child of the new worker",
        )
        with suppress(psutil.NoSuchProcess):  # the first only prints the models, and ends by itself
            self._killed.add(new[0].ppid())
            new[0].kill()

    def kill_worker(self, _: float) -> None:
        shim = self.serving_child().parent()
        assert shim is not None
        worker = shim.parent()
        assert worker is not None
        self._killed.add(shim.pid)
        worker.kill()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


HAPPENS: dict[str, Callable[[Faults, float], object]] = {
    "kill": Faults.kill,
    "kill again and again": Faults.kill_again,
    "freeze": Faults.freeze,
    "deaf": lambda faults, size: faults.lasting("deaf", size),
    "slow pipe": lambda faults, size: faults.lasting("slow", size),
    "torn lines": lambda faults, size: faults.lasting("torn", size),
    "half lines": lambda faults, size: faults.lasting("half", size),
    "garbage": lambda faults, size: faults.inject(f"garbage {size}"),
    "huge line": lambda faults, size: faults.inject(f"huge {size}"),
    "talkative stderr": lambda faults, size: faults.inject(f"stderr {size}"),
    "reload": Faults.reload,
    "kill in a reload": Faults.kill_in_a_reload,
    WORKER_KILL: Faults.kill_worker,
}
