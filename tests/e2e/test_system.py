"""What only a system package or the package registry can show: run by `make test-system`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, KEY, ROOT, ask, wait_until
from tests.e2e.replicas import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

SHARED_MEMORY = "/dev/shm/"  # noqa: S108  (where gunicorn keeps its heartbeat)
CHANGING = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,link,linkat"


def test_nothing_is_written_outside_codex_home(tmp_path: Path) -> None:
    """Every system call of gunicorn, the child and the demo upstream that could create or change a file."""
    home, trace, port = tmp_path / "codex-home", tmp_path / "trace", free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    tracer = ["strace", "-f", "-qq", "-y", "-e", f"trace={CHANGING}", "-o", str(trace)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*tracer, *gunicorn],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PORT": str(port),
                "PROXY_API_KEY": KEY,
                "CODEX_HOME": str(home),
                # Python compiles gunicorn.conf.py before a line of it can say not to; make run sets this too.
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            # Traced, a worker takes its time until it accepts: a request that came before waits for it.
            wait_until(lambda: requests.get(f"{url}/readyz", timeout=60).ok, "ready", 60)
            answer = requests.post(
                f"{url}/v1/chat/completions",
                json=ask("hello"),
                headers={"Authorization": f"Bearer {KEY}"},
                timeout=DEADLINE_S,
            )
            assert answer.status_code == 200
        finally:
            os.kill(int((home / "gunicorn.pid").read_text()), signal.SIGTERM)
            process.wait(60)
    allowed = (str(home), SHARED_MEMORY, "/dev/null", "/proc/", "/dev/pts/", "/dev/tty")
    changed = list(changed_paths(trace.read_text()))
    assert any(path.startswith(f"{home}/") for path in changed), "the trace was not understood"
    assert [path for path in changed if not path.startswith(allowed)] == []


def test_shellcheck_finds_nothing_in_our_scripts() -> None:
    scripts = [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").rglob("*.sh"))]
    assert len(scripts) > 3
    done = subprocess.run(
        ["shellcheck", "-x", *scripts], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def changed_paths(trace: str) -> Iterator[str]:
    """Paths that a successful call opened for writing or made; a relative one is joined to its folder.

    strace -y shows every directory descriptor with its path, AT_FDCWD too.
    """
    for line in trace.splitlines():
        is_open = re.search(r"\b(open|openat|creat)\(", line)
        if " = -1 " in line or (is_open and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", line)):
            continue
        # The last path is the one that is made: symlink(target, PATH), rename(old, PATH).
        paths = re.findall(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"([^"]*)"', line)
        if paths:
            folder, name = paths[-1]
            yield str(Path(folder or "/") / name)
