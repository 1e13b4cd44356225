"""Tokens as the upstream counts them, also where it cannot count; and the model that answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.e2e.harness import MODEL, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import child
from tests.e2e.scrape import scrape, total


def line_of(gateway: Gateway, headers: Mapping[str, str]) -> dict[str, Any]:
    request_id = headers["x-request-id"]
    lines: list[dict[str, Any]] = wait_until(
        lambda: [one for one in gateway.events("request") if one["request_id"] == request_id],
        "it is logged",
    )
    return lines[0]


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_newly_cached_is_counted(
    lend_gateway: Callable[..., Gateway], upstream: Upstream, stream: bool
) -> None:
    gateway = lend_gateway()
    usage = {"input_tokens": 50, "cached_tokens": 20, "cache_write_tokens": 30, "output_tokens": 2}
    marker = upstream.say("one", " two", usage=usage)
    with gateway.sdk() as sdk:
        answer = sdk.chat.completions.with_raw_response.create(
            **ask(
                marker,
                stream=stream,
                **({"stream_options": {"include_usage": True}} if stream else {}),
            )
        )
        parsed: Any = answer.parse()
        counted = [chunk.usage for chunk in parsed][-1] if stream else parsed.usage
    assert counted.prompt_tokens_details.cached_tokens == 20
    assert counted.prompt_tokens_details.cache_write_tokens == 30
    line = line_of(gateway, answer.headers)
    assert (line["cached_tokens"], line["cache_write_tokens"]) == (20, 30)
    assert total(scrape(gateway), "codex_tokens_total", kind="cache_write", model=MODEL) >= 30


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"input_tokens": -5, "output_tokens": -7, "cached_tokens": -1}, (0, 0, 0)),
        ({"input_tokens": 10, "output_tokens": 2, "cached_tokens": 20}, (10, 2, 10)),
        ({"input_tokens": 2**53 + 1, "output_tokens": 2}, (2**40, 2, 0)),
        ({"input_tokens": 5, "output_tokens": 3, "reasoning_tokens": 2**61}, (5, 3, 0)),
    ],
)
def test_impossible_figures_break_nothing(
    gateway: Gateway, upstream: Upstream, stream: bool, usage: Any, counted: tuple[int, int, int]
) -> None:
    marker = upstream.say("one", " two", usage=usage)
    with gateway.sdk() as sdk:
        for _ in range(2):  # on one connection: the first answer's end must not break it
            more = {"stream_options": {"include_usage": True}} if stream else {}
            raw = sdk.chat.completions.with_raw_response.create(
                **ask(marker, stream=stream, **more)
            )
            parsed: Any = raw.parse()
            told = [chunk.usage for chunk in parsed][-1] if stream else parsed.usage
            cached = told.prompt_tokens_details.cached_tokens
            assert (told.prompt_tokens, told.completion_tokens, cached) == counted
            line = line_of(gateway, raw.headers)
            assert (line["prompt_tokens"], line["completion_tokens"]) == counted[:2]
    assert child(gateway)["counters"]["impossible_usage"] > 0
    assert gateway.get("/metrics").status_code == 200


REROUTED = {"openai-model": "gpt-5.2"}


def test_a_rerouted_stream_names_who_answers(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway()
    marker = upstream.say("one", " two", headers=REROUTED, usage={"output_tokens": 17})
    before = scrape(gateway)
    with gateway.sdk() as sdk:
        raw = sdk.chat.completions.with_raw_response.create(**ask(marker, stream=True))
        chunks: Any = list(raw.parse())
    assert [chunk.model for chunk in chunks if chunk.choices[0].delta.content] == ["gpt-5.2"] * 2
    finish = chunks[-1]
    assert finish.model == "gpt-5.2"
    assert finish.codex_metadata["model"] == "gpt-5.2"
    assert finish.codex_metadata["requested_model"] == MODEL
    line = line_of(gateway, raw.headers)
    assert (line["model"], line["requested_model"]) == ("gpt-5.2", MODEL)
    after = scrape(gateway)
    known = gateway.get("/v1/models").json()["data"]
    label = "gpt-5.2" if "gpt-5.2" in {model["id"] for model in known} else "other"
    name, labels = "codex_tokens_total", {"kind": "completion", "model": label}
    assert total(after, name, **labels) - total(before, name, **labels) == 17


def test_a_rerouted_answer_names_who_answered(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("one", headers=REROUTED)
    answer = gateway.post(ask(marker)).json()
    assert answer["model"] == "gpt-5.2"
    assert answer["codex_metadata"]["model"] == "gpt-5.2"
    assert answer["codex_metadata"]["requested_model"] == MODEL
    with gateway.sdk() as sdk:
        legacy = sdk.completions.create(model=MODEL, prompt=f"[{marker}]")
    assert legacy.model == "gpt-5.2"


def test_an_answer_of_the_model_that_was_asked_for_says_nothing_of_another(
    gateway: Gateway, upstream: Upstream
) -> None:
    answer = gateway.post(ask(upstream.say("one", headers={"openai-model": MODEL}))).json()
    assert (answer["model"], answer["codex_metadata"]["model"]) == (MODEL, MODEL)
    assert "requested_model" not in answer["codex_metadata"]
