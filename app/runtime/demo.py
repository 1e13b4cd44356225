"""Demo upstream as a process of this worker: supervised like the child, on a port that outlives its restarts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gevent
from gevent import socket

from app.process.child import Child, ChildSpec
from app.process.lifecycle import BackoffPolicy
from app.process.supervisor import Supervisor

_ROOT = Path(__file__).resolve().parent.parent.parent
_START_S = 10
_BACKLOG = 256


class DemoUpstream:
    """Listener whose `base_url` is known at once and stays, and the process that answers there from `run` on."""

    def __init__(self) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(_BACKLOG)
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._supervisor = Supervisor(
            "demo_upstream", BackoffPolicy(250, 5000), prepare=self._prepare, attach=_await_address
        )

    def run(self) -> None:
        """Keep the process alive until `stop`. Blocks."""
        self._supervisor.run()

    def stop(self) -> None:
        """End the process. Blocks."""
        self._supervisor.stop()
        self._listener.close()

    def _prepare(self) -> ChildSpec:
        descriptor = self._listener.fileno()
        return ChildSpec(
            name="demo_upstream",
            # -B: nothing is written outside CODEX_HOME, so no compiled files either.
            argv=(
                *(sys.executable, "-B", "-m", "scripted_upstream"),
                *("--fd", str(descriptor), "--until-stdin-closes"),
            ),
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            cwd=_ROOT,
            pass_fds=(descriptor,),
        )


class _Listening:
    """Handler of the demo process, which says nothing after its address: there is no state to release."""

    def retire(self) -> None:
        """Do nothing."""

    def detach(self) -> None:
        """Do nothing."""


def _await_address(child: Child) -> _Listening:
    with gevent.Timeout(_START_S, TimeoutError("the demo upstream did not start in time")):
        if not child.socket.recv(4096):
            raise EOFError("the demo upstream ended while starting")
    return _Listening()
