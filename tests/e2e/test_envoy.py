"""Envoy with deploy/envoy/envoy.yaml in front of two gateways: what passes, who answers, and where one is gone."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, KEY, ROOT, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import HELD, read_frame_by_frame, send
from tests.e2e.raw_http import OF_OPERATORS, exchange, request_bytes
from tests.e2e.replicas import Replicas, free_port
from tests.e2e.routes import Route, on_each_route

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SAMPLE = ROOT / "deploy" / "envoy" / "envoy.yaml"
NAMES = 16
"""Conversations, so many that both replicas have some: where each goes depends on the ports."""


def program() -> str:
    """Envoy of the environment; there is none in Debian."""
    found = shutil.which("envoy", path=str(ROOT / ".venv-neighbours" / "bin"))
    assert found is not None
    return found


class Envoy:
    """Envoy with the sample as it is, but for addresses."""

    def __init__(self, folder: Path, gateways: list[Gateway]) -> None:
        folder.mkdir()
        self.port = free_port()
        self._log = folder / "log"
        text = SAMPLE.read_text()
        for old, new in {
            "{address: 0.0.0.0, port_value: 80}": f"{{address: 127.0.0.1, port_value: {self.port}}}",
            "11435": str(gateways[0].port),
            "11436": str(gateways[1].port),
        }.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / "envoy.yaml").write_text(text)
        options = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program(), "-c", str(folder / "envoy.yaml"), *options], stdout=log, stderr=log
            )
        wait_until(self._listens, "Envoy listens")

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Replicas]:
    replicas = Replicas(tmp_path_factory.mktemp("pair"), upstream)
    yield replicas
    replicas.close()


@pytest.fixture(scope="module")
def front(pair: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    envoy = Envoy(tmp_path_factory.mktemp("front") / "envoy", pair.gateways)
    yield replace(pair.gateways[0], port=envoy.port)
    envoy.close()


def post(front: Gateway, marker: str, conversation: str) -> requests.Response:
    return requests.post(
        f"{front.url}/v1/chat/completions",
        json=ask(marker),
        headers={"Authorization": f"Bearer {KEY}", "X-Conversation-Id": conversation},
        timeout=DEADLINE_S,
    )


def test_it_takes_the_sample_as_it_is() -> None:
    command = [program(), "--mode", "validate", "-c", str(SAMPLE), "--log-level", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_frame_arrives_before_the_next_is_written(front: Gateway, upstream: Upstream) -> None:
    read_frame_by_frame(front, upstream)


@on_each_route
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_turn(
    front: Gateway, upstream: Upstream, stream: bool, route: Route
) -> None:
    marker = upstream.play(HELD)
    connection = send(front.port, marker, route, stream=stream)
    upstream.control.wait("held", marker)
    connection.close()
    upstream.control.wait("peer_closed", marker)


def test_names_are_spread_and_each_stays(
    pair: Replicas, front: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("ok")
    names = [f"name-{n}" for n in range(NAMES)]
    rounds = [[post(front, marker, name) for name in names] for _ in range(2)]
    once, again = (pair.answerers(found) for found in rounds)
    assert once == again
    assert set(once) == {0, 1}


@pytest.mark.parametrize("target", OF_OPERATORS)
def test_what_is_for_operators_cannot_be_reached(front: Gateway, target: str) -> None:
    status, _, body = exchange(front, request_bytes("GET", target))
    assert status in {400, 404}
    assert b"enabled" not in body
    assert b"codex_" not in body


def test_where_a_replica_is_gone_the_other_one_serves_its_conversations(
    tmp_path: Path, upstream: Upstream
) -> None:
    pair = Replicas(tmp_path, upstream)
    envoy = Envoy(tmp_path / "envoy", pair.gateways)
    try:
        marker = upstream.say("ok")
        pair.kill(0)
        front = replace(pair.gateways[1], port=envoy.port)
        served = [post(front, marker, f"name-{n}").status_code for n in range(NAMES)]
    finally:
        envoy.close()
        pair.close()
    assert served == [200] * NAMES
