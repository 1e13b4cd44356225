"""Starts that cannot serve, by another server or with other options of gunicorn's: a sentence, and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from app.settings import VARIABLES
from tests.e2e.harness import DEADLINE_S, KEY, ROOT, Gateway

WITH_CONFIGURATION = ("-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app")
HOW = "The gateway is served by gunicorn with its own configuration"


def start(folder: Path, *arguments: str, cwd: Path = ROOT, **settings: str) -> tuple[int, str]:
    """Return exit code and output of a start that ends by itself."""
    environment = {variable.metadata["name"]: "" for variable in VARIABLES}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={
            **environment,
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PROXY_API_KEY": KEY,
            "CODEX_HOME": str(folder / "home"),
            "PORT": "0",
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wsgi.py",), HOW),
        (("-m", "flask", "--app", "wsgi", "run"), HOW),
        (("-c", "import wsgi"), HOW),
        ((*WITH_CONFIGURATION, "-w", "4"), "exactly one gunicorn worker"),
        ((*WITH_CONFIGURATION, "-k", "sync"), "take -k, --worker-class and --threads away"),
        (
            (*WITH_CONFIGURATION, "--preload", "--reload"),
            "take --preload away. gunicorn's reloader",
        ),
    ],
)
def test_what_cannot_serve_says_how_to_serve(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, output = start(tmp_path, *arguments)
    assert (code, said in output) == (1, True), output
    assert not (tmp_path / "home" / "gunicorn.pid").exists()


def test_gunicorn_without_the_configuration_ends_with_the_sentence(tmp_path: Path) -> None:
    elsewhere = ("-m", "gunicorn", "--chdir", str(ROOT), "-b", "127.0.0.1:0", "--no-control-socket")
    code, output = start(tmp_path, *elsewhere, "wsgi:app", cwd=tmp_path)
    assert (code, HOW in output, "Traceback" in output) == (4, True, False), output


def test_a_port_that_is_taken_is_named_once_and_leaves_no_pid_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output = start(tmp_path, *WITH_CONFIGURATION, PORT=port)
    assert code == 1
    assert f"PORT: {port} is taken by " in output
    assert output.count(port) == 1
    assert not (tmp_path / "home" / "gunicorn.pid").exists()


def test_a_gateway_listens_on_ipv6(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(ready=False, PROXY_HOST="[::1]")
    answer = requests.get(f"http://[::1]:{gateway.port}/livez", timeout=DEADLINE_S)
    assert answer.status_code == 200
