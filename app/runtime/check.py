"""The check before a reload: a program of its own that reads the configuration and loads the application.

The master starts it from the text of this file as it was when the master began: so that it works, and can say what is
wrong, also where the code on disk cannot even be compiled. It therefore imports nothing of `app`.

Its one argument is JSON: `arguments` (gunicorn's, after the program's name) and `address` (host and port that are
listened on now). Its one line of output is a verdict: `{"problems": [sentence, …], "layout": n}`. No value of a
setting is in a sentence: settings are named, exceptions are shown by type and place.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

_NICENESS = 10
_TELLS_NO_VALUE = (ImportError, NameError)


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
        return f"{kind} in {os.path.basename(error.filename or '?')}, line {error.lineno}: {error.msg}."  # noqa: PTH119
    text = f": {error}" if isinstance(error, _TELLS_NO_VALUE) else ""
    place, traceback = "", error.__traceback__
    while traceback is not None:
        name = os.path.basename(traceback.tb_frame.f_code.co_filename)  # noqa: PTH119
        place, traceback = f" in {name}, line {traceback.tb_lineno}", traceback.tb_next
    return f"{kind}{place}{text}."


def load(arguments: list[str]) -> tuple[Any, int]:
    """Load configuration and application as gunicorn will; return the configuration, and the layout of shared memory.

    Raises whatever they raise.
    """
    from gunicorn.app.wsgiapp import WSGIApplication  # noqa: PLC0415

    sys.argv = ["gunicorn", *arguments]
    application = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")
    application.wsgi()
    return application.cfg, sys.modules["app.runtime.layout"].LAYOUT


def refusals(config: Any, address: list[Any]) -> list[str]:
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
                found.append(
                    f"PROXY_HOST, PORT: cannot listen there: {os.strerror(error.errno or 0)}."
                )
    return found


def main() -> None:
    """Write the verdict. Whatever the application prints goes nowhere."""
    output = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.nice(_NICENESS)  # the worker that serves comes first
    question = json.loads(sys.argv[1])
    problems, layout = [], 0
    try:
        config, layout = load(question["arguments"])
        problems = refusals(config, question["address"])
    # Whatever the code on disk raises, SystemExit too, is the answer to what was asked.
    except BaseException as error:  # noqa: BLE001
        problems = problems_of(error)
    os.write(output, json.dumps({"problems": problems, "layout": layout}).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
