"""The image, built and run without Docker: the Dockerfile's own steps, its command, its check, its signals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.compose import load, variables
from tests.e2e.container import Container, Image, may_mount
from tests.e2e.dockerfile import read
from tests.e2e.harness import DEADLINE_S, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

KEY = "sk-image-9fQ2mV7xK4tB1wZ8"
OWNER = 10001
CURL = ("curl", "-sS", "-N", "-H", f"Authorization: Bearer {KEY}")
ASK = {"model": "gpt-5.5", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
BASE = "http://127.0.0.1:11435"

Start = Callable[..., Container]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if not may_mount(tmp_path_factory.mktemp("probe")):
        pytest.skip("no namespaces and overlays here: they need root, outside of a container")
    built: dict[str, Image] = {}
    for stage in read():
        folder = tmp_path_factory.mktemp(stage.name or "final")
        built[stage.name] = Image.begin(folder, stage)
        built[stage.name].build(built)
    yield built[""]
    for each in built.values():  # hundreds of megabytes, which pytest would keep
        shutil.rmtree(each.folder)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The folder of settings as the page says to make it: readable by the image's group, closed to others."""
    folder = tmp_path / "config"
    folder.mkdir()
    os.chown(folder, -1, OWNER)
    folder.chmod(0o2750)
    save(folder, f"PROXY_API_KEY={KEY}\n")
    return folder


def save(folder: Path, text: str) -> None:
    """As editors save: another file takes the place of the old one."""
    new = folder / ".env.new"
    new.write_text(text)
    new.chmod(0o640)
    new.replace(folder / ".env")


@pytest.fixture
def start(image: Image, config: Path, tmp_path: Path) -> Iterator[Start]:
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o700)
    os.chown(volume, OWNER, OWNER)
    started: list[Container] = []

    def begin(command: list[str] | None = None) -> Container:
        words = command or image.stage.one("CMD").words
        log = tmp_path / f"log-{len(started)}"
        started.append(Container(image, volume, config, log, words))
        return started[-1]

    yield begin
    for container in started:
        container.end()


def is_healthy(container: Container, image: Image) -> bool:
    assert container.process.poll() is None, container.log.read_text()
    return container.execute(*image.stage.healthcheck).returncode == 0


def health(container: Container) -> Any:
    return json.loads(container.execute(*CURL, f"{BASE}/healthz").stdout)


def await_status(container: Container, wanted: str) -> None:
    wait_until(lambda: health(container)["status"] == wanted, wanted, 60)


def test_it_serves_reloads_and_drains(start: Start, image: Image, config: Path) -> None:
    running = start()
    wait_until(lambda: is_healthy(running, image), "the check says healthy", 120)
    first = running.first
    assert "gunicorn" in " ".join(first.cmdline())
    status = Path(f"/proc/{first.pid}/status").read_text()
    assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE), "gunicorn is process 1"
    assert re.search(rf"^Uid:\s+{OWNER}\s+{OWNER}\s", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)

    # A setting is changed by renaming and counts after HUP, as does its way back.
    for value, wanted in (("true", "maintenance"), ("false", "ok")):
        save(config, f"PROXY_API_KEY={KEY}\nPROXY_MAINTENANCE_MODE={value}\n")
        running.signal(signal.SIGHUP)
        await_status(running, wanted)
        assert is_healthy(running, image)
    done = lambda: health(running)["reload"]["state"] == "done"  # noqa: E731
    wait_until(done, "the reload is over", 60)

    # TERM lets a stream finish, and the end is a clean one.
    body = json.dumps(ASK)
    chat = f"{BASE}/v1/chat/completions"
    stream = running.begin(*CURL, "-H", "Content-Type: application/json", "-d", body, chat)
    assert stream.stdout is not None
    assert stream.stdout.readline().startswith("data: {")
    running.signal(signal.SIGTERM)
    rest = stream.stdout.read()
    stream.wait(DEADLINE_S)
    stream.stdout.close()
    assert rest.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"stop"' in rest
    assert '"error"' not in rest
    assert running.wait(DEADLINE_S) == 0
    worst = [line for line in running.log.read_text().splitlines() if '"level": "error"' in line]
    assert worst == []


def test_commands_find_the_service_the_login_and_the_codex_of_the_image(
    start: Start, image: Image
) -> None:
    running = start()
    wait_until(lambda: is_healthy(running, image), "the check says healthy", 120)
    flask = (".venv/bin/flask", "--app", "wsgi", "codex")
    said = running.execute(*flask, "status")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "11435" in said.stdout
    doctor = running.execute(*flask, "doctor").stdout
    assert doctor.endswith("Passed, with warnings: login.\n"), doctor
    # Nothing of the image can be changed by the service.
    for place in ("/app/app/errors.py", "/app/new", "/etc/codex-gateway/.env", "/var/lib/new"):
        assert running.execute("touch", place).returncode != 0, place
    assert running.execute("touch", "/var/lib/codex-gateway/new").returncode == 0
    # As process 1 it must not end for another master.
    running.signal(signal.SIGUSR2)
    wait_until(lambda: "upgrade_refused" in running.log.read_text(), "USR2 is refused")
    assert is_healthy(running, image)
    # Another start on the same volume: the number in the pid file is its own.
    running.signal(signal.SIGTERM)
    assert running.wait(DEADLINE_S) == 0
    again = start()
    wait_until(lambda: is_healthy(again, image), "it starts again", 120)


COUNT = """
import importlib.util, pathlib
sources = [path for name in ("app", "forward_auth", "scripted_upstream") for path in pathlib.Path(name).rglob("*.py")]
kept = [pathlib.Path(importlib.util.cache_from_source(path)) for path in sources]
print(len(sources), sum(path.exists() and path.read_bytes()[4:8] == bytes([1, 0, 0, 0]) for path in kept))
"""
"""Counts the modules, and those whose compiled code is taken without a look at the source (PEP 552)."""


def test_no_start_compiles_anything(start: Start) -> None:
    running = start()
    counted = lambda: running.execute(".venv/bin/python", "-c", COUNT).stdout  # noqa: E731
    sources, compiled = wait_until(counted, "it can be entered").split()
    assert sources == compiled != "0"


def test_without_settings_it_says_what_is_missing(start: Start, config: Path) -> None:
    (config / ".env").unlink()
    refused = start()
    assert refused.wait(DEADLINE_S) == 1
    assert "PROXY_API_KEY is required" in refused.log.read_text()


def test_settings_that_its_user_cannot_read_are_named(start: Start, config: Path) -> None:
    (config / ".env").chmod(0o600)  # root's own
    refused = start()
    assert refused.wait(DEADLINE_S) == 1
    assert ".env cannot be read: Permission denied." in refused.log.read_text()


def test_the_sidecar_is_the_same_image_with_another_command(start: Start) -> None:
    service = load("compose.traefik.yaml", variables("dev"))["services"]["forward-auth"]
    running = start(service["command"])
    check = service["healthcheck"]["test"][1:]
    wait_until(lambda: running.execute(*check).returncode == 0, "its check says healthy", 60)
    code = ("-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:18080/verify")
    assert running.execute(*CURL, *code).stdout == "200"
    assert running.execute("curl", "-s", *code).stdout == "401"
    running.signal(signal.SIGTERM)
    assert running.wait(DEADLINE_S) == 0
    assert KEY not in running.log.read_text()
