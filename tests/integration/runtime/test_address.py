"""Addresses that can and cannot be had, on this machine's own network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.runtime.address import holder, is_taken, problem


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_an_address_that_is_free_is_no_problem(host: str) -> None:
    assert problem(host, 0) == ""
    assert not is_taken(host, 0)


def test_a_port_that_is_taken_is_named_with_its_holder_and_one_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert is_taken("127.0.0.1", port)
        said = problem("127.0.0.1", port)
    assert said.startswith(f"PORT: {port} is taken by ")
    assert f"(pid {os.getpid()})" in said
    free = int(said.partition("). ")[2].split()[0])
    assert free != port
    socket.create_server(("127.0.0.1", free)).close()


def test_a_gateway_is_told_from_other_programs(tmp_path: Path) -> None:
    program = (
        "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\ninput()"
    )
    arguments = [sys.executable, "-c", program, "gunicorn", "wsgi:app"]
    with subprocess.Popen(
        arguments, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        said = holder(port)
        other.kill()
    assert said == f"another gateway (pid {other.pid}, started in {tmp_path})"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "PROXY_HOST: this machine has no such address."),
        ("no..name", "PROXY_HOST: no address is known for this name."),
    ],
)
def test_a_host_that_is_not_this_machine_is_said(host: str, said: str) -> None:
    assert problem(host, 0) == said


def test_nobody_that_can_be_seen_is_another_program() -> None:
    assert holder(0) == "another program"
