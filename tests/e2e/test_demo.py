"""A newcomer's first answer: no login, no upstream, the built-in one serves through the real child."""

from __future__ import annotations

from typing import Any

import requests

from tests.e2e.harness import Gateway, ask, wait_until
from tests.e2e.raw_http import stream_frames


def test_the_demo_answers_and_says_what_it_is(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False)
    _, frames = stream_frames(gateway, ask("hello"))
    text = "".join(f["choices"][0]["delta"].get("content", "") for f in frames[:-1])
    assert "flask --app wsgi codex login" in text
    assert frames[-2]["codex_metadata"]["upstream"] == "demo"
    owners = {model["owned_by"] for model in gateway.get("/v1/models").json()["data"]}
    assert owners == {"codex-demo"}
    (notice,) = gateway.events("demo_upstream_serves")
    assert "codex login" in notice["remedy"]
    (worker,) = gateway.workers()
    assert len(worker.children()) == 2
    family = worker.children(recursive=True)
    assert gateway.stop() == 0
    assert not any(process.is_running() for process in family)


def test_the_demo_comes_back_on_the_same_port(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False)
    (worker,) = gateway.workers()

    def starts() -> list[Any]:
        return [e for e in gateway.events("child_ready") if e["child"] == "demo_upstream"]

    # The codex child may be ready first, and a demo that dies while it starts was never there.
    wait_until(starts, "the demo upstream is there")
    (demo,) = [process for process in worker.children() if process.name() != "codex"]
    demo.kill()
    wait_until(lambda: starts()[1:], "the demo upstream is back")
    assert gateway.post(ask("hello")).status_code == 200


def test_a_service_that_was_logged_in_never_falls_back_to_the_demo(
    make_gateway: Any, tmp_path: Any
) -> None:
    home = tmp_path / "home"
    (home / "gateway").mkdir(parents=True)
    (home / "gateway" / "login-seen").touch()
    gateway: Gateway = make_gateway(with_upstream=False, ready=False, CODEX_HOME=str(home))
    answer = gateway.post(ask("hello"))
    assert_needs_login(answer)
    wait_until(lambda: gateway.get("/readyz").json().get("reason") == "upstream_auth", "a reason")
    assert gateway.get("/healthz").json()["status"] == "degraded"


def test_there_is_no_demo_in_production(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False, ready=False, PROXY_ENV="prod")
    assert_needs_login(gateway.post(ask("hello")))


def assert_needs_login(answer: requests.Response) -> None:
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "UPSTREAM_AUTH"
    assert error["retryable"] is False
    assert "codex login" in error["message"]
