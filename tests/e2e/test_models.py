"""The names of models: what is listed, what each stands for, and what the child is asked in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests

from tests.e2e.harness import (
    DEADLINE_S,
    MODEL,
    Gateway,
    Upstream,
    ask,
    end,
    start_gateway,
    wait_until,
)
from tests.e2e.raw_http import stream_frames

ALIASES = "fast=gpt-5.5-low, team/best=gpt-5.5, dead=gpt-4"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway with names of its own for models."""
    settings = {"PROXY_MODEL_ALIASES": ALIASES, "PROXY_DEFAULT_MODEL": "fast"}
    settings["PROXY_PROTECT_MODELS"] = "false"
    running = start_gateway(tmp_path_factory.mktemp("named"), upstream, **settings)
    running.wait_ready()
    yield running
    end(running)


def asked_of(upstream: Upstream, marker: str) -> tuple[str, str | None]:
    """The model and the effort that reached the upstream."""
    (request,) = upstream.control.requests(marker)
    body = request["body"]
    return body["model"], (body.get("reasoning") or {}).get("effort")


def check_not_found(answer: requests.Response, *words: str) -> None:
    assert answer.status_code == 404, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert (error["type"], error["retryable"]) == ("invalid_request_error", False)
    assert all(word in error["message"] for word in words), error["message"]


# The list


def test_a_model_of_the_list_is_what_the_sdk_expects(sdk: openai.OpenAI) -> None:
    models = sdk.models.list().data
    assert len({model.id for model in models}) == len(models) > 1
    for model in models:
        assert (model.object, model.owned_by) == ("model", "codex-custom")
        assert isinstance(model.created, int)
        assert sdk.models.retrieve(model.id) == model


def test_aliases_are_listed_and_variants_are_not(gateway: Gateway, named: Gateway) -> None:
    plain, more = (
        [model["id"] for model in at.get("/v1/models").json()["data"]] for at in (gateway, named)
    )
    assert more == [*plain, "fast", "team/best"]
    assert not any(name.endswith(("-low", "-high")) for name in more)


# One model


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}-high"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_model_is_shown_under_the_name_that_was_asked_for(
    gateway: Gateway, name: str, slash: str
) -> None:
    answer = gateway.get(f"/v1/models/{name}{slash}")
    assert answer.status_code == 200
    shown = {"id": name, "object": "model", "created": 1_767_225_600, "owned_by": "codex-custom"}
    assert answer.json() == shown
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("name", ["fast", "team/best", "team/best-high"])
def test_an_alias_is_shown(named: Gateway, name: str) -> None:
    assert named.get(f"/v1/models/{name}").json()["id"] == name
    with named.sdk() as client:
        assert client.models.retrieve(name).id == name


def test_head_works_too(gateway: Gateway) -> None:
    for name, status in ((MODEL, 200), ("gpt-4", 404)):
        answer = requests.head(
            f"{gateway.url}/v1/models/{name}", headers=gateway.headers, timeout=DEADLINE_S
        )
        assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize(
    "path",
    ["gpt-4", "gpt-5.5-ultra", "GPT-5.5", "gpt", "gpt-5.5/x", "gpt-5.5//", "a%2Fb", "%20", "fast"],
)
def test_any_other_name_is_not_found(gateway: Gateway, path: str) -> None:
    check_not_found(gateway.get(f"/v1/models/{path}"), "does not exist")


def test_an_alias_of_nothing_is_not_found(named: Gateway) -> None:
    check_not_found(named.get("/v1/models/dead"), "`dead`", "`gpt-4`", "PROXY_MODEL_ALIASES")


@pytest.mark.parametrize("path", [f"/v1/models/{MODEL}", "/v1/models/gpt-4", "/v1/models/"])
def test_a_model_needs_a_key_where_the_list_does(
    gateway: Gateway, named: Gateway, path: str
) -> None:
    assert gateway.get(path, key=False).status_code == 401
    assert named.get(path, key=False).status_code == named.get(path).status_code != 401


def test_models_are_only_read(gateway: Gateway) -> None:
    answer = requests.delete(
        f"{gateway.url}/v1/models/{MODEL}", headers=gateway.headers, timeout=DEADLINE_S
    )
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_supported"


# In a request


@pytest.mark.parametrize(
    ("name", "given", "effort"),
    [
        (f"{MODEL}-high", {}, "high"),
        (f"{MODEL}-low", {"reasoning_effort": "low"}, "low"),
        ("fast", {}, "low"),
        ("team/best", {"reasoning_effort": "high"}, "high"),
        ("team/best-xhigh", {}, "xhigh"),
    ],
)
def test_a_name_sets_model_and_effort(
    named: Gateway, upstream: Upstream, name: str, given: dict[str, Any], effort: str
) -> None:
    marker = upstream.say("x")
    answer = named.post(ask(marker, **given) | {"model": name}).json()
    assert asked_of(upstream, marker) == (MODEL, effort)
    assert answer["model"] == name
    metadata = answer["codex_metadata"]
    assert (metadata["model"], metadata["effort"]) == (MODEL, effort)


def test_every_frame_repeats_the_name_that_was_asked_for(
    gateway: Gateway, upstream: Upstream
) -> None:
    _, frames = stream_frames(gateway, ask(upstream.say("a", "b")) | {"model": f"{MODEL}-high"})
    assert {frame["model"] for frame in frames[:-1]} == {f"{MODEL}-high"}
    metadata = frames[-2]["codex_metadata"]
    assert (metadata["model"], metadata["effort"]) == (MODEL, "high")


@pytest.mark.parametrize("stream", [False, True])
def test_two_efforts_that_differ_are_refused(gateway: Gateway, *, stream: bool) -> None:
    body = ask("x", reasoning_effort="low", stream=stream) | {"model": f"{MODEL}-high"}
    answer = gateway.post(body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "reasoning_effort")
    assert f"`{MODEL}-high`" in error["message"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-4", ("GET /v1/models",)),
        (f"{MODEL}-ultra", ("GET /v1/models",)),
        ("dead", ("`gpt-4`", "PROXY_MODEL_ALIASES")),
    ],
)
def test_a_name_of_nothing_is_not_found(named: Gateway, name: str, words: tuple[str, ...]) -> None:
    check_not_found(named.post(ask("x") | {"model": name}), f"`{name}`", *words)


# The default


@pytest.mark.parametrize("absent", [{}, {"model": None}, {"model": ""}])
@pytest.mark.parametrize(("given", "effort"), [({}, "low"), ({"reasoning_effort": "high"}, "high")])
def test_a_request_without_a_model_takes_the_default(
    named: Gateway,
    upstream: Upstream,
    absent: dict[str, Any],
    given: dict[str, Any],
    effort: str,
) -> None:
    marker = upstream.say("x")
    body = ask(marker, **given)
    del body["model"]
    answer = named.post(body | absent).json()
    assert asked_of(upstream, marker) == (MODEL, effort)
    assert answer["model"] == "fast"
    assert answer["codex_metadata"]["model"] == MODEL


@pytest.mark.parametrize(
    ("body", "param"), [({}, "messages"), ({"model": 5, "messages": [{}]}, "model")]
)
def test_with_a_default_everything_else_is_checked_as_ever(
    named: Gateway, body: dict[str, Any], param: str
) -> None:
    answer = named.post(body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_without_a_default_the_model_is_required(gateway: Gateway) -> None:
    for absent in ({}, {"model": None}):
        answer = gateway.post({"messages": [{"role": "user", "content": "x"}], **absent})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "model")
        assert error["code"] == "missing_required_parameter"


def test_a_default_of_nothing_is_not_found(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(PROXY_DEFAULT_MODEL="gpt-4")
    body = {"messages": [{"role": "user", "content": "x"}]}
    check_not_found(gateway.post(body), "`gpt-4`", "PROXY_DEFAULT_MODEL")


def test_names_of_nothing_are_logged_once_at_the_start(
    gateway: Gateway, named: Gateway, make_gateway: Any
) -> None:
    (warning,) = named.events("model_name_unknown")
    assert (warning["level"], warning["names"]) == ("warn", ["dead=gpt-4"])
    assert gateway.events("model_name_unknown") == []
    wrong: Gateway = make_gateway(PROXY_DEFAULT_MODEL="gpt-4")
    (warning,) = wrong.events("model_name_unknown")
    assert warning["names"] == ["gpt-4"]
    before = wrong.child()
    before.kill()
    wait_until(lambda: wrong.child().pid != before.pid, "another child runs")
    wrong.wait_ready()
    assert len(wrong.events("model_name_unknown")) == 1
