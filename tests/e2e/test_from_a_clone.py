"""A clone becomes a service that is watched, reloaded and stopped, by what the pages say to type and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.e2e.harness import DEADLINE_S, ROOT, wait_until
from tests.e2e.monitoring import alerts
from tests.e2e.prometheus import Prometheus
from tests.e2e.replicas import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ABSENT = {"codex", "node", "npm", "npx", "docker", "strace"}


@dataclass
class Service:
    """`make run` in a clone, in a home of its own, on a machine that has what a fresh one has."""

    clone: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @property
    def key(self) -> str:
        return (self.clone / ".env").read_text().split("=", 1)[1].strip()

    def health(self) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        return requests.get(f"{self.url}/healthz", headers=headers, timeout=DEADLINE_S).json()

    def type(self, command: str) -> str:
        """Type a line in the clone; return what it prints."""
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def signal(self, name: str) -> None:
        self.type(f"kill -{name} $(cat .codex-api/gunicorn.pid)")

    def invitation(self) -> str:
        """Return all that was printed until the line to paste was whole."""
        printed = self.log_path.read_text()
        return printed if printed.endswith("}'\n\n") else ""

    def kill_child(self) -> None:
        """Kill it once, and wait for the next one."""
        before = self.health()["child"]
        os.kill(before["pid"], signal.SIGKILL)
        after = lambda: self.health()["child"]["restarts"] > before["restarts"]  # noqa: E731
        wait_until(after, "its end is noticed")
        wait_until(lambda: self.health()["child"]["state"] == "ready", "the next one is ready")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    clone, home = tmp_path / "clone", tmp_path / "home"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    home.mkdir()
    environment = {"PATH": bare_path(tmp_path / "bin"), "HOME": str(home), "PORT": str(free_port())}
    environment |= {n: v for n, v in os.environ.items() if n.startswith(("PIP_", "SSL_"))}
    log_path = tmp_path / "make.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            ["make", "run", f"PYTHON={Path(sys.base_prefix) / 'bin' / 'python3'}"],
            cwd=clone,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield Service(clone, environment, process, log_path)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def bare_path(folder: Path) -> str:
    """A PATH with everything of ours but what a fresh machine does not have."""
    folder.mkdir()
    for directory in map(Path, os.environ["PATH"].split(":")):
        for tool in directory.iterdir() if directory.is_dir() else ():
            link = folder / tool.name
            if tool.name not in ABSENT and not link.is_symlink():
                link.symlink_to(tool)
    return str(folder)


@contextmanager
def watching(service: Service, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with the files of the clone, of which an operator changes what they say is to be changed.

    It looks every second in place of every fifteenth. The rules are as they are.
    """
    shutil.copytree(service.clone / "docker" / "prometheus", folder)
    (folder / "token").write_text(service.key)
    config = folder / "prometheus.yml"
    text = config.read_text()
    for old, new in {
        "127.0.0.1:11435": service.url.removeprefix("http://"),
        "/etc/prometheus/codex-gateway.token": str(folder / "token"),
        "_interval: 15s": "_interval: 1s",
    }.items():
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    prometheus = Prometheus(config)
    try:
        prometheus.wait_ready()
        yield prometheus
    finally:
        prometheus.close()


def test_a_clone_becomes_a_service_that_is_watched_reloaded_and_stopped(
    service: Service, tmp_path: Path
) -> None:
    wait_until(lambda: "\ncurl " in service.log_path.read_text(), "the invitation", 300)
    printed = wait_until(service.invitation, "it is whole")
    command = re.search(r"^curl .*", printed, re.MULTILINE | re.DOTALL)
    assert command, printed
    streamed = service.type(command[0])
    assert streamed.startswith("data: {")
    assert streamed.endswith("data: [DONE]\n\n")
    its_key_is_its_own_and_nothing_else_is_written(service, printed[: command.start()])
    family = psutil.Process(service.process.pid).children(recursive=True)
    with watching(service, tmp_path / "prometheus") as prometheus:
        its_rules_are_loaded_and_its_target_is_up(prometheus)
        what_clients_and_operators_do_is_seen(service, prometheus)
        a_reload_and_a_stop_are_seen(service, prometheus)
    assert [process for process in family if process.is_running()] == []
    log = service.log_path.read_text()
    assert log.count(service.key) == 1, "it is in the line to paste, and nowhere else"


def its_rules_are_loaded_and_its_target_is_up(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    assert {rule["name"] for rule in rules()} >= set(alerts())
    wait_until(lambda: {rule["health"] for rule in rules()} == {"ok"}, "every rule is evaluated")
    wait_until(lambda: prometheus.ask("up == 1"), "the target is up")
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


def what_clients_and_operators_do_is_seen(service: Service, prometheus: Prometheus) -> None:
    counted = 'codex_http_requests_total{route="/v1/chat/completions",status="200"} == 1'
    wait_until(lambda: prometheus.ask(counted), "the line that was pasted is counted")

    maintenance = ".venv/bin/flask --app wsgi codex maintenance"
    service.type(f"{maintenance} on --reason 'We are moving.'")
    alert = "CodexMaintenanceTooLong"
    wait_until(lambda: alert in prometheus.pending(), "maintenance is noticed")
    service.type(f"{maintenance} off")
    wait_until(lambda: alert not in prometheus.pending(), "its end, too")

    assert "CodexChildRestarting" not in prometheus.firing()
    for _ in range(4):
        service.kill_child()
    wait_until(lambda: "CodexChildRestarting" in prometheus.firing(), "somebody is told")


def a_reload_and_a_stop_are_seen(service: Service, prometheus: Prometheus) -> None:
    service.signal("HUP")
    wait_until(lambda: service.health()["reload"]["state"] == "done", "it has reloaded", 60)
    assert prometheus.ask("min_over_time(up[10m]) == 1"), "it was there all the time"

    service.signal("TERM")
    assert service.process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(service.environment["PORT"])), DEADLINE_S)
    wait_until(lambda: "CodexGatewayDown" in prometheus.pending(), "its end is noticed")


def its_key_is_its_own_and_nothing_else_is_written(service: Service, before: str) -> None:
    assert stat.S_IMODE((service.clone / ".env").stat().st_mode) == 0o600
    assert service.key not in before
    status = ["git", "status", "--porcelain", "--ignored", "--untracked-files=normal"]
    lines = subprocess.run(
        status, cwd=service.clone, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {line[3:].rstrip("/") for line in lines} <= {".env", ".venv", ".codex-api"}
