"""A proxy that asks ForwardAuth: Debian's Caddy with deploy/caddy/Caddyfile.forward-auth. It judges as Traefik does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.caddy import Caddy
from tests.e2e.forward_auth import ForwardAuth, start
from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import read_frame_by_frame
from tests.e2e.raw_http import exchange, request_bytes

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

ADMIN = "admin-8kW1qR4zM7vE3sJ6"
CHAT = "/v1/chat/completions"
IMPORT = "\timport forward-auth\n"


@dataclass
class Edge:
    """A gateway, a sidecar with the same keys, and a proxy before them."""

    gateway: Gateway
    sidecar: ForwardAuth
    caddy: Caddy

    @property
    def front(self) -> Gateway:
        return replace(self.gateway, port=self.caddy.port)

    def post(self, key: str | None, body: Any) -> requests.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = self.front.url + CHAT
        return requests.post(url, json=body, headers=headers, timeout=DEADLINE_S)

    def came_through(self) -> int:
        """How many requests the gateway has seen."""
        return len(self.gateway.events("request"))


@pytest.fixture
def edge(lend_gateway: Callable[..., Gateway], tmp_path: Path) -> Iterator[Edge]:
    gateway = lend_gateway()
    (tmp_path / "sidecar").mkdir()
    sidecar = start(tmp_path / "sidecar", f"PROXY_API_KEY={KEY}\nPROXY_ADMIN_KEY={ADMIN}\n")
    addresses = {
        "127.0.0.1:11435": f"127.0.0.1:{gateway.port}",
        "127.0.0.1:18080": f"127.0.0.1:{sidecar.port}",
    }
    caddy = Caddy(tmp_path / "caddy", "Caddyfile.forward-auth", addresses)
    yield Edge(gateway, sidecar, caddy)
    caddy.close()
    end(sidecar)


def end(sidecar: ForwardAuth) -> None:
    """Kill it with its workers, which would otherwise go on for as long as their own watch lets them."""
    workers = sidecar.workers() if sidecar.process.poll() is None else set()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    sidecar.process.kill()
    sidecar.process.wait(DEADLINE_S)


def test_who_has_a_key_is_served_frame_by_frame(edge: Edge, upstream: Upstream) -> None:
    read_frame_by_frame(edge.front, upstream)


@pytest.mark.parametrize("key", [None, "wrong", ADMIN, f"{KEY}x"])
def test_who_has_none_ends_at_the_edge_with_the_gateways_own_words(
    edge: Edge, key: str | None
) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    wanted = requests.post(edge.gateway.url + CHAT, json={}, headers=headers, timeout=DEADLINE_S)
    before = edge.came_through()
    refused = edge.post(key, ask("nobody sees this"))
    assert edge.came_through() == before
    assert (refused.status_code, refused.json()) == (401, wanted.json())
    for name in ("WWW-Authenticate", "x-should-retry", "Access-Control-Allow-Origin"):
        assert refused.headers[name] == wanted.headers[name], name


def test_where_nobody_can_say_who_has_a_key_nobody_comes_in(edge: Edge, upstream: Upstream) -> None:
    body = ask(upstream.say("ok"))
    edge.sidecar.write("")
    assert {edge.post(KEY, body).json()["error"]["code"] for _ in range(8)} == {
        "WORKER_UNAVAILABLE"
    }
    end(edge.sidecar)
    before = edge.came_through()
    assert edge.post(KEY, body).status_code == 502
    assert edge.came_through() == before


def test_what_forward_auth_is_not_asked_about_goes_on_without_it(edge: Edge) -> None:
    end(edge.sidecar)
    front = edge.front
    assert front.get("/readyz", key=False).json() == {"status": "ready"}
    assert front.get("/v1/models").json()["object"] == "list"
    assert front.get("/v1/models", key=False).status_code == 401, "the gateway judges"
    preflight = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
    answer = requests.options(front.url + CHAT, headers=preflight, timeout=DEADLINE_S)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_emergency_bypass_opens_nothing_and_is_taken_back(
    edge: Edge, upstream: Upstream
) -> None:
    body = ask(upstream.say("ok"))
    end(edge.sidecar)
    assert edge.caddy.text.count(IMPORT) == 1
    edge.caddy.reload(edge.caddy.text.replace(IMPORT, f"#{IMPORT}"))
    # In the moment of a reload a connection may still be the old server's.
    wait_until(lambda: edge.post(KEY, body).status_code == 200, "nobody is asked")
    for key in (None, "wrong"):
        refused = edge.post(key, body)
        assert refused.status_code == 401
        assert "X-Request-Id" in refused.headers, "the gateway itself said so"
    edge.caddy.reload(edge.caddy.text)
    wait_until(lambda: edge.post(KEY, body).status_code == 502, "the sidecar is asked again")


@pytest.mark.parametrize(
    "target",
    [
        "/internal/maintenance",
        "//internal/maintenance",
        "/%69nternal/maintenance",
        "/v1/../internal/maintenance",
        "/v1/..%2finternal/maintenance",
        "/v1internal",
        "/metrics",
        "/livez/../metrics",
        "/verify",
        "/",
    ],
)
def test_nothing_else_is_reachable(edge: Edge, target: str) -> None:
    status, _, body = exchange(edge.front, request_bytes("GET", target))
    assert status == 404
    assert b"enabled" not in body
    assert b"codex_" not in body
