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


def test_keys_change_with_the_file_and_without_any_nobody_is_let_in(sidecar: ForwardAuth) -> None:
    assert sidecar.ask(SECOND).status_code == 200
    for more in ("", "LOG_LEVEL=loud\n"):  # which the gateway would refuse
        sidecar.write(f"PROXY_API_KEY={FIRST}\n{more}")
        assert_each_time(sidecar, FIRST, 200)
        assert_each_time(sidecar, SECOND, 401)
    for broken in ("", "PROXY_API_KEY=\n", f"PROXY_API_KEY={FIRST}\nPROXY_API_KEYS=ann\n"):
        sidecar.write(broken)
        assert_each_time(sidecar, FIRST, 503)
        assert_each_time(sidecar, SECOND, 503)
    answer = sidecar.ask(FIRST)
    assert answer.json()["error"]["retryable"] is True
    assert answer.headers["x-should-retry"] == "true"

    before = sidecar.workers()
    sidecar.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(sidecar.workers() - before) == len(before), "new workers")
    wait_until(lambda: not sidecar.workers() & before, "the old ones have gone")
    assert_each_time(sidecar, FIRST, 503)
    sidecar.write(BOTH)
    assert_each_time(sidecar, SECOND, 200)
    assert sidecar.stop() == 0
    assert "keys_not_read" in sidecar.log


def assert_each_time(sidecar: ForwardAuth, key: str, status: int) -> None:
    """Of several connections, since each worker looks at the file by itself."""
    assert {sidecar.ask(key).status_code for _ in range(8)} == {status}


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
