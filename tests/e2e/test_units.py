"""The units of deploy/systemd, as far as can be told without systemd: they parse, and what they promise holds."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from app.runtime.shutdown import STOP_MARGIN_S
from app.settings import load_settings
from tests.e2e.harness import DEADLINE_S, KEY, ROOT, ask, wait_until
from tests.e2e.replicas import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

UNITS = ROOT / "deploy" / "systemd"
SERVICE = (UNITS / "codex-gateway.service").read_text()


def value(name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", SERVICE, re.MULTILINE)
    return str(found)


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    """Programs and users that this machine lacks are replaced by ones that it has."""
    docker = "[Unit]\nDescription=Docker\n[Service]\nExecStart=/bin/true\n"
    (tmp_path / "docker.service").write_text(docker)
    for unit in UNITS.glob("*.service"):
        text = unit.read_text().replace("/usr/bin/docker", "/bin/true")
        text = text.replace("/opt/codex-gateway/.venv/bin/gunicorn", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.glob("codex-*.service")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "codex-gateway" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_systemd_calls_it_well_closed() -> None:
    """1.7 of 10 with systemd 252, where 0 is a service that can do nothing; a newer one may count more."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20"]
    unit = str(UNITS / "codex-gateway.service")
    done = subprocess.run([*command, unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stop_waits_for_longer_than_the_drain() -> None:
    grace_s = math.ceil(load_settings({"PROXY_API_KEY": KEY}).shutdown_grace_ms / 1000)
    assert int(value("TimeoutStopSec")) > grace_s + STOP_MARGIN_S + 10


def test_files_suffice_for_what_the_settings_need() -> None:
    settings = load_settings({"PROXY_API_KEY": KEY})
    assert int(value("LimitNOFILE")) > 2 * settings.connections


def environment(folder: Path, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PORT": str(port),
        "PROXY_API_KEY": KEY,
        "CODEX_HOME": str(folder / "codex-home"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def start(folder: Path, *before: str, **more: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start what the unit starts, with words before it; return the process and its address."""
    assert value("ExecStart").endswith("/.venv/bin/gunicorn -c gunicorn.conf.py wsgi:app")
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*before, *command],
            cwd=ROOT,
            env=environment(folder, port) | more,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return process, f"http://127.0.0.1:{port}"


def test_ready_is_said_when_connections_are_taken(tmp_path: Path) -> None:
    assert (value("Type"), value("NotifyAccess")) == ("notify", "main")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE_S)
        process, url = start(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"))
        try:
            assert b"READY=1" in manager.recv(4096)
            # At once, without another try: it waits for the worker, and is not refused.
            assert requests.get(f"{url}/livez", timeout=DEADLINE_S).ok
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)


def test_a_setting_that_is_refused_is_never_called_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        process, _ = start(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"), LOG_LEVEL="loud")
        assert process.wait(DEADLINE_S) == 1
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


def filtered() -> set[str]:
    """Every system call that the unit allows: the group and the groups in it."""
    found: set[str] = set()
    groups = [value("SystemCallFilter")]
    while groups:
        listed = subprocess.run(
            ["systemd-analyze", "syscall-filter", groups.pop()],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        names = re.findall(r"^    (@?[a-z0-9_-]+)$", listed, re.MULTILINE)
        groups += [name for name in names if name.startswith("@")]
        found |= {name for name in names if not name.startswith("@")}
    return found


def test_gateway_and_child_need_no_system_call_and_no_address_that_the_unit_forbids(
    tmp_path: Path,
) -> None:
    trace = tmp_path / "trace"
    tracer = ["strace", "-f", "-qq", "-C", "-e", "signal=none", "-o", str(trace)]
    process, url = start(tmp_path, *tracer)
    try:
        wait_until(lambda: requests.get(f"{url}/readyz", timeout=60).ok, "ready", 120)
        answer = requests.post(
            f"{url}/v1/chat/completions",
            json=ask("hello"),
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
        )
        assert answer.status_code == 200
        master = int((tmp_path / "codex-home" / "gunicorn.pid").read_text())
        os.kill(master, signal.SIGHUP)
        reloaded = lambda: '"reload_done"' in (tmp_path / "log").read_text()  # noqa: E731
        wait_until(reloaded, "it has reloaded", 120)
    finally:
        os.kill(int((tmp_path / "codex-home" / "gunicorn.pid").read_text()), signal.SIGTERM)
        process.wait(120)
    text = trace.read_text()
    row = r"^ +[\d.]+ +[\d.]+ +\d+ +\d+ +(?:\d+ +)?([a-z]\w+)$"
    made = set(re.findall(row, text, re.MULTILINE)) - {"total"}
    assert {"execve", "epoll_wait", "openat"} <= made
    assert {name for name in made - filtered() if succeeded(text, name)} == set()
    families = set(re.findall(r"socket\((AF_\w+)", text))
    assert families <= set(value("RestrictAddressFamilies").split())


def succeeded(trace: str, name: str) -> bool:
    """Whether a call ever succeeded: one that the kernel refuses anyway is not missed."""
    return bool(re.search(rf"^\d+ +{name}\(.*\) += (?!-1 )", trace, re.MULTILINE))
