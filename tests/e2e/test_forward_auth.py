"""ForwardAuth over HTTP, under gunicorn: who is let in, what a refusal says, and that it never stays open."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.forward_auth import ForwardAuth, begin, start
from tests.e2e.harness import DEADLINE_S, Gateway, wait_until

FIRST = "sk-first-9fQ2mV7xK4tB1wZ8"
SECOND = "sk-second-3hT6nC0yL5uD2xA9"
ADMIN = "admin-8kW1qR4zM7vE3sJ6"
BOTH = f"PROXY_API_KEY={FIRST}\nPROXY_API_KEYS=ann={SECOND}\nPROXY_ADMIN_KEY={ADMIN}\n"


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[ForwardAuth]:
    running = start(tmp_path, BOTH)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(DEADLINE_S)


def test_every_key_of_a_client_is_let_in_and_nobody_else(sidecar: ForwardAuth) -> None:
    for good in (FIRST, SECOND):
        answer = sidecar.ask(good)
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
    for key in (None, "", "wrong", ADMIN, FIRST[:-1], FIRST + "x", f"{FIRST} {SECOND}"):
        assert sidecar.ask(key).status_code == 401
    assert sidecar.ask(Authorization=f"Basic {FIRST}").status_code == 401
    for path in ("/", "/verify/", "/healthz", "/metrics", "/internal/maintenance", "//verify"):
        assert sidecar.ask(FIRST, path).status_code == 404, path
    assert sidecar.stop() == 0


def test_a_refusal_is_the_gateways_own(sidecar: ForwardAuth, gateway: Gateway) -> None:
    wanted = gateway.get("/v1/models", key=False)
    answer = sidecar.ask()
    assert answer.status_code == wanted.status_code == 401
    assert answer.json() == wanted.json()
    for name in (
        "Content-Type",
        "WWW-Authenticate",
        "x-should-retry",
        "Access-Control-Allow-Origin",
    ):
        assert answer.headers[name] == wanted.headers[name], name


def test_keys_change_with_the_file_and_settings_that_are_refused_change_nothing(
    sidecar: ForwardAuth,
) -> None:
    assert sidecar.ask(SECOND).status_code == 200
    sidecar.write(f"PROXY_API_KEY={FIRST}\n")
    assert sidecar.ask(SECOND).status_code == 401
    for broken in ("", "PROXY_API_KEY=\n", f"PROXY_API_KEY={SECOND}\nLOG_LEVEL=loud\n"):
        sidecar.write(broken)
        assert sidecar.ask(FIRST).status_code == 200
        assert sidecar.ask(SECOND).status_code == 401
    sidecar.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Handling signal: hup" in sidecar.log, "the HUP was taken")
    assert sidecar.ask(FIRST).status_code == 200
    sidecar.write(BOTH)
    assert sidecar.ask(SECOND).status_code == 200
    assert sidecar.stop() == 0
    wait_until(lambda: "keys_not_read" in sidecar.log, "it says so")


@pytest.mark.parametrize(
    ("env", "more", "said"),
    [
        ("", {}, "PROXY_API_KEY is required"),
        ("PROXY_API_KEY=\n", {}, "PROXY_API_KEY is required"),
        (BOTH, {"PROXY_API_KEY": ""}, "PROXY_API_KEY is required"),
        ("PROXY_API_KEY=short\n", {"PROXY_ENV": "prod"}, "PROXY_API_KEY needs 24 characters"),
        ("PROXY_API_KEY=a\nPROXY_API_KEYS=ann\n", {}, "PROXY_API_KEYS must be"),
    ],
)
def test_without_keys_that_the_gateway_would_take_it_does_not_start(
    tmp_path: Path, env: str, more: dict[str, str], said: str
) -> None:
    refused = begin(tmp_path, env, **more)
    assert refused.process.wait(DEADLINE_S) == 1
    assert refused.log.startswith(said)
    assert "Traceback" not in refused.log


def test_no_key_is_ever_logged(sidecar: ForwardAuth) -> None:
    for key in (FIRST, "sk-wrong-4jU7pD1zN8wF5tG2"):
        sidecar.ask(key)
        for request in (
            f"GET /verify?key={key} HTTP/1.1\r\nHost: a\r\n\r\n",
            f"GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer {key}\r\n\r\n",
            f"GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\x00\r\n\r\n",
            f"{key} / HTTP/9\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", sidecar.port), DEADLINE_S) as connection:
                connection.sendall(request.encode())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
    assert sidecar.stop() == 0
    assert "invalid_http_request" in sidecar.log
    assert "sk-" not in sidecar.log
