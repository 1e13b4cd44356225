"""The scripted upstream as a process, once for this folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from scripted_upstream.client import Control

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def upstream_url() -> Iterator[str]:
    command = [sys.executable, "-m", "scripted_upstream", "--control", "--port", "0"]
    with subprocess.Popen(
        [*command, "--until-stdin-closes", "--model", "gpt-5.5"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.stdin.close()
        assert process.wait(timeout=10) == 0


@pytest.fixture
def control(upstream_url: str) -> Iterator[Control]:
    control = Control(upstream_url)
    yield control
    assert control.state()["last_errors"] == []


@pytest.fixture
def marker() -> str:
    return f"marker-{uuid4().hex}"
