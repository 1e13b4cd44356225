"""Peers of the gateway, from PyPI, each in an environment of its own below `.venv-bench-peers`.

They speak to the same scripted upstream, without codex in between. LiteLLM takes its address as a setting. ChatMock has
OpenAI's written into it, so that it is started with another one put in its place (`chatmock_start`), and a login that
is none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from bench import processes
from bench.http_load import KEYS_VARIABLE
from bench.processes import ROOT, StartError, environment, module
from bench.sides import Place, Side

ENVIRONMENTS = ROOT / ".venv-bench-peers"
VERSIONS: Mapping[str, str] = {"chatmock": "chatmock==1.40", "litellm": "litellm[proxy]==1.106.2"}

_INSTALL_S = 900
_REQUESTS = 100
_LOOPS = 2
_KEY = "sk-bench"


@dataclass(frozen=True, slots=True)
class Start:
    """What a peer is started with."""

    python: Path
    home: Path
    upstream_url: str
    port: int
    model: str


Command: TypeAlias = tuple[list[str], dict[str, str], str]
"""Arguments, what is added to the environment, and the path that says that it is ready."""


@contextmanager
def running(place: Place, model: str) -> Iterator[list[Side]]:
    """Install what is missing, start all peers; yield a side for each. Raises `StartError`."""
    with ExitStack() as stack:
        yield [stack.enter_context(_peer(place, name, model)) for name in COMMANDS]


@contextmanager
def _peer(place: Place, name: str, model: str) -> Iterator[Side]:
    python = _environment(name)
    home = place.home(name)
    port, log = processes.free_port(), home.with_suffix(".log")
    argv, more, path = COMMANDS[name](Start(python, home, place.upstream_url, port, model))
    env = environment(home) | {"PATH": f"{python.parent}:/usr/bin:/bin"} | more
    with processes.service(argv, env, log, home) as process:
        processes.await_answer(process, partial(processes.get, port, path, _KEY), name, log)
        keys = {KEYS_VARIABLE: _KEY}
        with module(("bench.http_load", str(port)), environment(home) | keys) as load:
            yield Side(
                name,
                load,
                {"self": process.pid},
                place.upstream_pid,
                most_loops=_LOOPS,
                only_streams=name == "litellm",
                most_requests=_REQUESTS,
            )


def _environment(name: str) -> Path:
    """Return the interpreter of a peer's environment; make that where it is missing. Blocks for minutes."""
    folder = ENVIRONMENTS / name
    python, mark = folder / "bin" / "python", folder / ".installed"
    if mark.is_file() and mark.read_text(encoding="utf-8") == VERSIONS[name]:
        return python
    print(f"Installing {VERSIONS[name]} into {folder} ...", file=sys.stderr)
    install = [str(python), "-m", "pip", "install", "--quiet", VERSIONS[name]]
    for argv in ([sys.executable, "-m", "venv", "--clear", str(folder)], install):
        done = subprocess.run(argv, check=False, timeout=_INSTALL_S)
        if done.returncode != 0:
            raise StartError(f"{VERSIONS[name]} could not be installed: see above.")
    mark.write_text(VERSIONS[name], encoding="utf-8")
    return python


def _chatmock(start: Start) -> Command:
    script = Path(__file__).with_name("chatmock_start.py")
    argv = [str(start.python), str(script), f"{start.upstream_url}/responses", str(start.port)]
    return argv, {"CHATGPT_LOCAL_HOME": str(start.home)}, "/health"


def _litellm(start: Start) -> Command:
    settings = start.home / "config.json"
    params = {"model": f"openai/responses/{start.model}", "api_base": start.upstream_url}
    listed = [{"model_name": start.model, "litellm_params": {**params, "api_key": "x"}}]
    settings.write_text(json.dumps({"model_list": listed}), encoding="utf-8")
    argv = [str(start.python.with_name("litellm")), "--config", str(settings)]
    argv += ["--host", "127.0.0.1", "--port", str(start.port), "--num_workers", "1"]
    more = {"LITELLM_MODE": "PRODUCTION", "LITELLM_MASTER_KEY": _KEY}
    more |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    return argv, more, "/health/liveliness"


COMMANDS: Mapping[str, Callable[[Start], Command]] = {"chatmock": _chatmock, "litellm": _litellm}
