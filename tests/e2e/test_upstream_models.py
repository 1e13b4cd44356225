"""Models of a configured upstream: named by the setting, read from its `/models`, or both."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.harness import MODEL, PIXEL, Gateway, Upstream, end, start_gateway, wait_until

LLAMA, QWEN, TUNED = "meta-llama/Llama-3.3-70B-Instruct", "qwen2.5-coder:32b", "ft:own-high"
LISTED = (LLAMA, QWEN, MODEL)

MakeGateway = Callable[..., Gateway]


@pytest.fixture(scope="module")
def other() -> Iterator[Upstream]:
    """An upstream that has models of its own, and is strict about them."""
    options = [part for name in (*LISTED, TUNED) for part in ("--model", name)]
    running = Upstream(*options)
    yield running
    assert running.control.state()["errors"] == 0
    running.close()


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, other: Upstream) -> Iterator[Gateway]:
    running = start_gateway(
        tmp_path_factory.mktemp("models"),
        other,
        CODEX_UPSTREAM_MODELS=f"{LLAMA}, {QWEN},{TUNED} ,{MODEL}",
        PROXY_MODEL_ALIASES=f"coder={QWEN}, thinker={LLAMA}-high, dead=gpt-6-luna",
        PROXY_DEFAULT_MODEL="coder",
    )
    running.wait_ready()
    yield running
    end(running)


def listed(gateway: Gateway) -> list[str]:
    return [model["id"] for model in gateway.get("/v1/models").json()["data"]]


def ask(gateway: Gateway, upstream: Upstream, **body: Any) -> tuple[Any, dict[str, Any]]:
    """Return the answer and the body that reached the upstream."""
    marker = upstream.say("Hello.")
    answer = gateway.post({"messages": [{"role": "user", "content": f"[{marker}]"}], **body})
    assert answer.status_code == 200, answer.text
    (request,) = upstream.control.requests(marker)
    return answer.json(), request["body"]


def test_the_list_is_what_is_named(named: Gateway) -> None:
    assert listed(named) == [LLAMA, QWEN, TUNED, MODEL, "coder", "thinker"]


@pytest.mark.parametrize("name", [LLAMA, QWEN, TUNED, f"{QWEN}-low"])
def test_one_is_shown_by_its_name(named: Gateway, name: str) -> None:
    assert named.get(f"/v1/models/{name}").json()["id"] == name


@pytest.mark.parametrize("name", [LLAMA, QWEN, TUNED])
def test_it_answers_and_no_effort_is_invented(named: Gateway, other: Upstream, name: str) -> None:
    answer, body = ask(named, other, model=name)
    assert (answer["model"], body["model"]) == (name, name)
    assert "effort" not in (body.get("reasoning") or {})
    assert answer["codex_metadata"]["effort"] is None
    assert body["tools"] == []
    assert "instructions" not in body


@pytest.mark.parametrize(
    ("name", "given", "model", "effort"),
    [
        (LLAMA, {"reasoning_effort": "high"}, LLAMA, "high"),
        (f"{QWEN}-low", {}, QWEN, "low"),
        ("coder-medium", {}, QWEN, "medium"),
        ("thinker", {}, LLAMA, "high"),
        (MODEL, {"reasoning_effort": "xhigh"}, MODEL, "xhigh"),  # codex knows more of it
        (None, {}, QWEN, None),
    ],
)
def test_efforts_and_names(
    named: Gateway, other: Upstream, name: str | None, given: Any, model: str, effort: str | None
) -> None:
    answer, body = ask(named, other, **({"model": name} if name else {}), **given)
    assert (body["model"], (body.get("reasoning") or {}).get("effort")) == (model, effort)
    assert (answer["codex_metadata"]["model"], answer["codex_metadata"]["effort"]) == (
        model,
        effort,
    )


def test_whatever_else_is_asked_for_reaches_it(named: Gateway, other: Upstream) -> None:
    marker = other.say("x")
    parts = [
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "text", "text": marker},
    ]
    more = {"service_tier": "flex", "verbosity": "low"}
    messages = [{"role": "user", "content": parts}]
    assert named.post({"model": QWEN, "messages": messages, **more}).status_code == 200
    (request,) = other.control.requests(marker)
    body = request["body"]
    assert (body["service_tier"], body["text"]["verbosity"]) == ("flex", "low")
    assert PIXEL in str(body["input"])


def test_what_is_not_named_is_not_found(named: Gateway) -> None:
    for name in ("gpt-6-luna", "dead", f"{LLAMA}-xhigh"):
        body = {"model": name, "messages": [{"role": "user", "content": "x"}]}
        assert named.post(body).json()["error"]["code"] == "model_not_found"
    (warning,) = named.events("model_name_unknown")
    assert warning["names"] == ["dead=gpt-6-luna"]


def test_auto_lists_what_the_upstream_lists(make_gateway: MakeGateway, other: Upstream) -> None:
    settings = {"CODEX_UPSTREAM_URL": other.url, "CODEX_UPSTREAM_MODELS": "auto"}
    gateway = make_gateway(**settings)
    assert listed(gateway) == [*LISTED, TUNED]
    _, body = ask(gateway, other, model=QWEN)
    assert body["model"] == QWEN
    asked = [request for request in other.control.requests() if request["path"] == "/v1/models"]
    assert asked[-1]["headers"]["authorization"] == "<present>"
    assert "upstream-key" not in gateway.log_path.read_text()
    kept = (gateway.home / "gateway" / "upstream-models.json").read_text()
    assert "upstream-key" not in kept


@pytest.mark.parametrize(
    ("words", "first", "last", "has_codex"),
    [
        ("auto,extra", LLAMA, "extra", False),
        ("extra,auto", "extra", TUNED, False),
        (f"codex,{QWEN}", "gpt-6-astra", QWEN, True),
    ],
)
def test_both(
    make_gateway: MakeGateway, other: Upstream, words: str, first: str, last: str, has_codex: bool
) -> None:
    gateway = make_gateway(CODEX_UPSTREAM_URL=other.url, CODEX_UPSTREAM_MODELS=words)
    names = listed(gateway)
    assert (len(set(names)), names[-1]) == (len(names), last)
    assert names[0] == first or has_codex
    assert ("gpt-6-luna" in names) is has_codex


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_an_upstream_that_is_away_delays_nothing_and_is_found_later(
    make_gateway: MakeGateway,
) -> None:
    port = free_port()
    settings = {
        "CODEX_UPSTREAM_URL": f"http://127.0.0.1:{port}/v1",
        "CODEX_UPSTREAM_MODELS": "auto",
        "WORKER_PROBE_INTERVAL_MS": "50",
        # A child that is killed because the machine stood still is not replaced: its successor knows the models.
        "WORKER_PROBE_TIMEOUT_MS": "60000",
        "PROXY_MODEL_ALIASES": f"coder={QWEN}",
    }
    gateway = make_gateway(**settings)
    assert MODEL in listed(gateway)  # codex's own, until more is known
    (warning,) = gateway.events("upstream_models_not_read")
    assert (warning["cause"], warning["models"]) == ("refused", 0)
    assert len(gateway.events("model_name_unknown")) == 1
    late = Upstream("--port", str(port), "--model", QWEN)
    try:
        wait_until(lambda: listed(gateway) == [QWEN, "coder"], "its models are offered")
        (replaced,) = wait_until(lambda: gateway.events("child_replaced"), "that is logged")
        assert replaced["reason"] == "models"
        assert len(gateway.events("model_name_unknown")) == 1  # the alias leads somewhere now
    finally:
        late.close()
    # And what was known last is kept, also by the next start.
    wait_until(lambda: len(gateway.events("upstream_models_not_read")) > 1, "it is missed")
    assert listed(gateway) == [QWEN, "coder"]
    gateway.child().kill()
    gateway.wait_ready()
    assert listed(gateway) == [QWEN, "coder"]
    gateway.stop()
    again = start_gateway(gateway.home.parent, None, **settings)
    try:
        again.wait_ready()
        assert listed(again) == [QWEN, "coder"]
    finally:
        end(again)


def test_a_list_that_never_comes_holds_up_no_start(make_gateway: MakeGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        gateway = make_gateway(CODEX_UPSTREAM_URL=url, CODEX_UPSTREAM_MODELS=f"auto,{QWEN}")
        assert listed(gateway) == [QWEN]
        (warning,) = gateway.events("upstream_models_not_read")
        assert warning["cause"] == "timeout"


def test_without_the_setting_codexs_models_are_offered_and_nothing_is_asked(
    make_gateway: MakeGateway,
) -> None:
    asked = Upstream("--model", QWEN)
    try:
        gateway = make_gateway(CODEX_UPSTREAM_URL=asked.url)
        assert MODEL in listed(gateway)
        assert QWEN not in listed(gateway)
        assert asked.control.state()["requests_total"] == 0
    finally:
        asked.close()
