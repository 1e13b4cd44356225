"""Why something does not work, where an operator looks for it: the log, `/healthz`, and never a client's answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.codex.binary import pinned_version
from tests.e2e.harness import Gateway, Upstream, ask, wait_until
from tests.e2e.tls_front import CA, TlsFront

MakeGateway = Callable[..., Gateway]


@pytest.fixture
def tls_url(upstream: Upstream) -> Iterator[str]:
    front = TlsFront(int(upstream.url.split(":")[2].split("/")[0]))
    yield f"https://localhost:{front.port}/v1"
    front.close()


# A child that does not come up


def test_a_broken_database_is_told_in_codexs_own_words(
    make_gateway: MakeGateway, tmp_path: Any
) -> None:
    home = tmp_path / "broken"
    (home / "state_5.sqlite").mkdir(parents=True)
    gateway = make_gateway(ready=False, CODEX_HOME=str(home), WORKER_BACKOFF_MAX_MS="250")
    wait_until(lambda: gateway.events("child_exited"), "an attempt has failed")
    line = gateway.events("child_exited")[0]
    assert line["reason"] == "handshake_failed"
    assert "it said: Error: failed to initialize sqlite state runtime" in line["detail"]
    wait_until(lambda: gateway.events("child_degraded"), "five attempts have failed")
    assert "failed to initialize" in gateway.events("child_degraded")[0]["detail"]
    last = gateway.health()["last_exit"]
    assert (last["exit_code"], last["detail"]) == (1, line["detail"])
    assert "failed to initialize" not in gateway.get("/healthz", key=False).text
    (home / "state_5.sqlite").rmdir()
    gateway.wait_ready()


def test_a_script_for_a_program_that_the_child_has_not(
    make_gateway: MakeGateway, tmp_path: Any
) -> None:
    launcher = tmp_path / "codex.js"
    launcher.write_text("#!/usr/bin/env no-such-node\nconsole.log('hello')\n")
    launcher.chmod(0o755)
    gateway = make_gateway(ready=False, CODEX_BIN=str(launcher))
    wait_until(lambda: gateway.events("child_exited"), "an attempt has failed")
    line = gateway.events("child_exited")[0]
    assert line["reason"] == "binary_refused"
    assert "a script for no-such-node" in line["detail"]
    assert gateway.get("/readyz").json()["reason"] == "binary_refused"


# The version


def test_the_version_has_a_place_of_its_own(gateway: Gateway) -> None:
    assert gateway.events("child_ready")[0]["codex_version"] == pinned_version()
    assert gateway.health()["codex_version"] == pinned_version()
    assert gateway.get("/healthz").json()["versions"]["codex"] == pinned_version()
    assert "codex_version" not in gateway.get("/healthz", key=False).text
    assert gateway.events("codex_version_differs") == []


# An upstream that is not reached


def failure_of(gateway: Gateway, upstream: Upstream) -> dict[str, Any]:
    """Ask once; return what is told of it, the same in the log and on `/healthz`."""
    answer = gateway.post(ask(upstream.say("x")))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "UPSTREAM_ERROR")
    assert error["message"] == "The upstream cannot be reached."
    wait_until(lambda: gateway.events("upstream_unreachable"), "its cause is known")
    line = gateway.events("upstream_unreachable")[0]
    assert line["level"] == "warn"
    assert "error sending request" in line["codex_said"]
    found: dict[str, Any] = gateway.health()["last_upstream_failure"]
    assert found["cause"] == line["cause"]
    assert line["found"] in found["detail"]
    assert "last_upstream_failure" not in gateway.get("/healthz", key=False).text
    return line


def test_a_closed_port(make_gateway: MakeGateway, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    gateway = make_gateway(CODEX_UPSTREAM_URL=url)
    assert gateway.health()["last_upstream_failure"] is None
    line = failure_of(gateway, upstream)
    assert (line["cause"], line["host"]) == ("refused", "127.0.0.1")
    assert "Connection refused" in line["found"]


def test_a_name_without_an_address(make_gateway: MakeGateway, upstream: Upstream) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_URL="http://no-such-host.invalid/v1")
    assert failure_of(gateway, upstream)["cause"] == "dns"


def test_a_certificate_that_nobody_trusts(
    make_gateway: MakeGateway, upstream: Upstream, tls_url: str
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_URL=tls_url)
    line = failure_of(gateway, upstream)
    assert line["cause"] == "tls"
    assert "certificate" in line["found"]


def test_a_proxy_that_is_away(make_gateway: MakeGateway, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        place = f"127.0.0.1:{sock.getsockname()[1]}"
    gateway = make_gateway(
        CODEX_UPSTREAM_URL="http://up.invalid/v1", HTTP_PROXY=f"http://me:hunter2@{place}"
    )
    assert failure_of(gateway, upstream)["cause"] == "proxy"
    assert "hunter2" not in gateway.log_path.read_text()


@pytest.mark.parametrize("variable", ["CODEX_CA_CERTIFICATE", "SSL_CERT_FILE"])
def test_a_private_ca_that_is_named_is_trusted(
    make_gateway: MakeGateway, upstream: Upstream, tls_url: str, variable: str
) -> None:
    gateway = make_gateway(
        CODEX_UPSTREAM_URL=tls_url, CODEX_UPSTREAM_MODELS="auto,gpt-5.5", **{variable: str(CA)}
    )
    answer = gateway.post(ask(upstream.say("It is ", "private.")))
    assert answer.json()["choices"][0]["message"]["content"] == "It is private."
    # The gateway's own way is the same: the list was read through it.
    assert gateway.events("upstream_models_not_read") == []
    assert gateway.events("setting_unknown") == []
