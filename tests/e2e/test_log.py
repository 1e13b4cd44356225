"""Log of a service whose reader stops reading, or goes: nothing else stops."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.scrape import scrape, total

MORE_LINES_THAN_A_PIPE_HOLDS = 400


class Read:
    """A gateway whose log goes through a pipe to a reader: `cat`, which writes `gateway.log`."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        with (folder / "gateway.log").open("wb") as log:
            self.reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        self.gateway: Gateway = start_gateway(folder, upstream, self.reader.stdin)
        self.gateway.wait_ready()

    def close(self) -> None:
        end(self.gateway)
        self.reader.kill()
        self.reader.wait()


@pytest.fixture
def read(tmp_path: Path, upstream: Upstream) -> Iterator[Read]:
    started = Read(tmp_path, upstream)
    yield started
    started.close()


def fill_the_pipe(gateway: Gateway) -> list[str]:
    """Ask for so much that the pipe is full, and return the ids of the requests."""
    answers = [gateway.get("/livez") for _ in range(MORE_LINES_THAN_A_PIPE_HOLDS)]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.headers["X-Request-Id"] for answer in answers]


def logged(gateway: Gateway, route: str) -> list[str]:
    return [entry["request_id"] for entry in gateway.events("request") if entry["route"] == route]


def test_a_reader_that_stops_reading_holds_nobody_up(read: Read, upstream: Upstream) -> None:
    gateway = read.gateway
    read.reader.send_signal(signal.SIGSTOP)
    ids = fill_the_pipe(gateway)
    assert gateway.post(ask(upstream.say("x"))).status_code == 200
    read.reader.send_signal(signal.SIGCONT)
    wait_until(lambda: logged(gateway, "/v1/chat/completions"), "what waited is read")
    assert logged(gateway, "/livez") == ids
    assert gateway.stop() == 0


def test_a_stop_does_not_wait_for_a_reader(read: Read) -> None:
    read.reader.send_signal(signal.SIGSTOP)
    fill_the_pipe(read.gateway)
    assert read.gateway.stop() == 0


def test_a_reader_that_has_gone_is_no_failure(read: Read, upstream: Upstream) -> None:
    gateway = read.gateway
    read.reader.kill()
    read.reader.wait()
    assert gateway.post(ask(upstream.say("x"))).status_code == 200
    wait_until(
        lambda: total(scrape(gateway), "codex_overflows_total", queue="log") > 0, "it is counted"
    )
    assert gateway.stop() == 0
