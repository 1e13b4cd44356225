"""Runs the check before a reload beside the master, which goes on: started, looked at, given up on after a while."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 30.0
_MOST_BYTES = 64 * 1024

_PROGRAM = (Path(__file__).parent / "check.py").read_text()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Empty `problems`: the reload may go on."""

    problems: tuple[str, ...] = ()
    layout: int = 0


class Preflight:
    """One running check."""

    def __init__(
        self, arguments: list[str], address: Any, folder: str, limit_s: float = LIMIT_S
    ) -> None:
        """Start it, in `folder`, with gunicorn's arguments and the address that is listened on now.

        Blocks for the fork only. Raises `OSError`.
        """
        question = json.dumps({"arguments": arguments, "address": address})
        self._began, self._limit_s = time.monotonic(), limit_s
        self._written = b""
        ours, theirs = os.pipe()
        try:
            os.set_blocking(ours, False)
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-c", _PROGRAM, question],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._pipe = ours

    def poll(self) -> Verdict | None:
        """Return the verdict, once; None while there is none. Does not block."""
        try:
            while data := os.read(self._pipe, _MOST_BYTES):
                self._written += data
        except BlockingIOError:
            if time.monotonic() - self._began <= self._limit_s:
                return None
            self.cancel()
            return Verdict((f"The check took longer than {self._limit_s:.0f} seconds.",))
        self._close()
        return _read(self._written)

    def cancel(self) -> None:
        """End it before its verdict. Does not block."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._close()

    def _close(self) -> None:
        # gunicorn's master reaps every process that it forked. Popen would warn that nobody has waited for this one.
        self._process.returncode = 0
        os.close(self._pipe)


def _read(written: bytes) -> Verdict:
    try:
        answer = json.loads(written)
        return Verdict(tuple(map(str, answer["problems"])), int(answer["layout"]))
    except (ValueError, KeyError, TypeError):
        return Verdict(("The check ended without a verdict.",))
