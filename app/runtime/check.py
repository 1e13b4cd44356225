"""Check before a reload: what keeps the configuration and the application on disk from being loaded.

Two sides in one file. `RunningCheck` is the master's. `main` is a program of its own, which the master starts from the
text of this file as it was when the master began: so it works, and can say what is wrong, also where the code on disk
cannot even be compiled. Therefore nothing of `app` is imported here.

The program's one argument is JSON: `arguments` (gunicorn's, after the program's name), `address` (host and port that
are listened on now) and `layout` (of the memory that the master shares). Its output is a JSON list of sentences, empty
where the reload may go on. No value of a setting is in a sentence: settings are named, exceptions are shown by type
and place. `gunicorn --check-config` would print both, and the master never learns how it ended: it collects every
process that it forked.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIMIT_S = 30.0
_MOST_BYTES = 64 * 1024
_NICENESS = 10
_TELLS_NO_VALUE = (ImportError, NameError)

_PROGRAM = Path(__file__).read_text() if "__file__" in globals() else ""


class RunningCheck:
    """Process that checks; the master goes on meanwhile, and gives up on it after a while."""

    def __init__(
        self, arguments: list[str], address: Any, layout: int, folder: str, limit_s: float = LIMIT_S
    ) -> None:
        """Start it in `folder`. Blocks for the fork only. Raises `OSError`."""
        question = json.dumps({"arguments": arguments, "address": address, "layout": layout})
        self._began, self._limit_s = time.monotonic(), limit_s
        self._written = b""
        ours, theirs = os.pipe()
        try:
            os.set_blocking(ours, False)
            process = subprocess.Popen(
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
        # gunicorn's master reaps every process that it forked, and a worker that is forked meanwhile has a copy:
        # Popen would warn in the log of either that nobody has waited for the process.
        process.returncode = 0
        self._pid = process.pid
        self._pipe = ours

    def poll(self) -> tuple[str, ...] | None:
        """Return the problems found, once; None while it runs. Does not block."""
        try:
            while data := os.read(self._pipe, _MOST_BYTES):
                self._written += data
        except BlockingIOError:
            if time.monotonic() - self._began <= self._limit_s:
                return None
            self.cancel()
            return (f"The check took longer than {self._limit_s:.0f} seconds.",)
        os.close(self._pipe)
        try:
            return tuple(map(str, json.loads(self._written)))
        except (ValueError, TypeError):
            return ("The check ended without a verdict.",)

    def cancel(self) -> None:
        """End it before its verdict. Does not block."""
        with contextlib.suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)
        os.close(self._pipe)


def problems_of(error: BaseException) -> list[str]:
    """Return sentences about what kept the configuration or the application from loading."""
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):  # gunicorn.conf.py: one sentence a line
            return error.code.splitlines()
        if error.__context__ is not None:  # gunicorn has printed it and gives up
            return problems_of(error.__context__)
        return ["gunicorn refuses its command line."]
    own = getattr(error, "problems", None)
    if isinstance(own, list):
        return [str(problem) for problem in own]
    return [_sentence(error)]


def _sentence(error: BaseException) -> str:
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind} in {Path(error.filename or '?').name}, line {error.lineno}: {error.msg}."
    text = f": {error}" if isinstance(error, _TELLS_NO_VALUE) else ""
    place, traceback = "", error.__traceback__
    while traceback is not None:
        name = Path(traceback.tb_frame.f_code.co_filename).name
        place, traceback = f" in {name}, line {traceback.tb_lineno}", traceback.tb_next
    return f"{kind}{place}{text}."


# The program


def _load(arguments: list[str]) -> tuple[Any, int | None]:
    """Load configuration and application as gunicorn will; return the configuration, and the layout that the code has.

    Raises whatever they raise.
    """
    from gunicorn.app.wsgiapp import WSGIApplication  # noqa: PLC0415

    sys.argv = ["gunicorn", *arguments]
    application = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")
    application.wsgi()
    return application.cfg, getattr(sys.modules.get("app.runtime.layout"), "LAYOUT", None)


def _refusals(config: Any, address: list[Any]) -> list[str]:
    """Return sentences about a configuration that loads and still cannot be reloaded to."""
    found = []
    if config.workers != 1:
        found.append("The gateway runs exactly one gunicorn worker.")
    host, port = config.address[0][:2]
    if [host, port] != address:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                reason = (
                    error.strerror
                )  # not by the number: a name that is unknown has one of its own
                found.append(f"PROXY_HOST, PORT: cannot listen there: {reason}.")
    return found


def _check(arguments: list[str], address: list[Any], layout: int) -> list[str]:
    try:
        config, new_layout = _load(arguments)
        problems = _refusals(config, address)
    # Whatever the code on disk raises, SystemExit too, is the answer to what was asked.
    except BaseException as error:  # noqa: BLE001
        return problems_of(error)
    if problems or new_layout == layout:
        return problems
    return ["This version needs a new master: send USR2 in place of HUP, or restart the service."]


def main() -> None:
    """Write the problems. Whatever the application prints goes nowhere."""
    output = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.nice(_NICENESS)  # the worker that serves comes first
    problems = _check(**json.loads(sys.argv[1]))
    os.write(output, json.dumps(problems).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
