"""Responses in the background: they go on alone, are polled, followed from any event on, cancelled and removed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import openai
import pytest
import requests

from tests.e2e.background import (
    PENDING,
    begin,
    cancel,
    ended,
    followed,
    get,
    held,
    shown,
    told,
)
from tests.e2e.harness import DEADLINE_S, IS_SHARED, MODEL, Gateway, Upstream, wait_until
from tests.e2e.in_flight import line_of
from tests.e2e.responses_api import (
    EVENTS,
    LOOK,
    REASONING,
    SAID,
    TEXT,
    TOOL,
    answer,
    post,
    refusal,
)

OTHER = "sk-other-7yQ2mV7xK4tB1wZ8cR5y0000"


# Its end


def test_the_sdk_polls_one_to_its_end(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = held(upstream)
    begun = sdk.responses.create(model=MODEL, input=f"hi {marker}", background=True)
    assert begun.status in PENDING
    upstream.control.wait("held", marker)
    wait_until(lambda: sdk.responses.retrieve(begun.id).status == "in_progress", "it runs")
    upstream.control.release(marker)
    wait_until(lambda: sdk.responses.retrieve(begun.id).status == "completed", "it ends")
    whole = sdk.responses.retrieve(begun.id)
    assert whole.output_text == "abc"
    assert whole.usage is not None
    assert whole.completed_at is not None


def test_it_is_the_answer_that_a_request_would_have_had(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play({"items": [REASONING, SAID, LOOK]})
    options = {"tools": [TOOL], "metadata": {"a": "b"}}
    waited_for = answer(gateway, input=f"hi {marker}", **options)
    alone = ended(gateway, begin(gateway, marker, **options)["id"])
    differs = {"id", "created_at", "completed_at", "background", "codex_metadata", "output"}
    rest = [{k: v for k, v in it.items() if k not in differs} for it in (alone, waited_for)]
    assert rest[0] == rest[1]
    without_ids = [[{**item, "id": ""} for item in it["output"]] for it in (alone, waited_for)]
    assert without_ids[0] == without_ids[1]


def test_a_chain_goes_on_from_one(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play([{"items": [REASONING, SAID]}, {"items": [SAID]}])
    first = ended(gateway, begin(gateway, marker)["id"])
    second = answer(gateway, input="and?", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    *_, seen = upstream.control.requests(marker)
    roles = [item.get("role") or item["type"] for item in seen["body"]["input"]]
    assert roles[-4:] == ["user", "reasoning", "assistant", "user"]


def test_what_the_upstream_refuses_has_failed(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"failure": "failed_invalid_prompt"})
    failed = ended(gateway, begin(gateway, marker)["id"])
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "invalid_prompt"
    *_, last = told(get(gateway, failed["id"], stream="true"))
    assert last["type"] == "response.failed"
    assert last["response"] == failed


# Who leaves and comes back


def test_it_goes_on_when_its_client_leaves(gateway: Gateway, upstream: Upstream) -> None:
    marker = held(upstream, after=1)
    body = {"input": f"hi {marker}", "background": True, "stream": True}
    with post(gateway, body, stream=True) as streamed:
        lines = (line for line in streamed.iter_lines() if line.startswith(b"data: "))
        first = EVENTS.validate_json(next(lines).removeprefix(b"data: "))
        upstream.control.wait("held", marker)
    assert first.type == "response.created"
    upstream.control.release(marker)
    assert ended(gateway, first.response.id)["output"][0]["content"][0]["text"] == "abc"


def test_the_sdk_leaves_a_stream_and_goes_on_from_where_it_was(
    sdk: openai.OpenAI, upstream: Upstream
) -> None:
    marker = held(upstream, after=2)
    stream = sdk.responses.create(model=MODEL, input=f"hi {marker}", background=True, stream=True)
    seen: list[Any] = []
    with stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    assert [event.type for event in seen[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    response_id = seen[0].response.id
    upstream.control.wait("held", marker)
    with sdk.responses.retrieve(
        response_id, stream=True, starting_after=seen[-1].sequence_number
    ) as rest:
        seen.append(next(rest))
        assert seen[-1].type == "response.output_text.delta", "while it still runs"
        upstream.control.release(marker)
        seen += rest
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    deltas = [event.delta for event in seen if event.type == "response.output_text.delta"]
    assert deltas == ["a", "b", "c"]
    assert seen[-1].type == "response.completed"
    with sdk.responses.retrieve(response_id, stream=True) as again:
        assert [*again] == seen, "told again as it was, when it is over"


@pytest.mark.parametrize("after", [-1, 0, 3, 7, 1000])
def test_a_stream_told_again_is_the_one_that_was(
    gateway: Gateway, upstream: Upstream, after: int
) -> None:
    marker = upstream.play({"items": [REASONING, SAID, LOOK]})
    body = {"input": f"hi {marker}", "background": True, "stream": True, "tools": [TOOL]}
    answered = post(gateway, body)
    live = told(answered)
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    deltas = [event["delta"] for event in live if event["type"] == "response.output_text.delta"]
    assert deltas == list(TEXT)
    response_id = live[0]["response"]["id"]
    line_of(gateway, answered.headers["X-Request-Id"], "background_answer")
    again = told(get(gateway, response_id, stream="true", starting_after=after))
    assert again[:-1] == live[after + 1 : -1]
    assert again[-1]["response"] == live[-1]["response"] == shown(gateway, response_id)


def test_many_follow_the_same_one(gateway: Gateway, upstream: Upstream) -> None:
    marker = held(upstream, after=1)
    response_id = begin(gateway, marker)["id"]
    upstream.control.wait("held", marker)
    with ThreadPoolExecutor(4) as pool:
        following = [pool.submit(get, gateway, response_id, stream="true") for _ in range(4)]
        wait_until(lambda: open_streams(gateway) >= 4, "all follow")
        upstream.control.release(marker)
        streams = [told(one.result()) for one in following]
    assert streams == [streams[0]] * 4
    assert streams[0][-1]["type"] == "response.completed"


def open_streams(gateway: Gateway) -> float:
    for line in gateway.get("/metrics").text.splitlines():
        if line.startswith("codex_streams_active "):
            return float(line.split()[-1])
    return 0


def test_a_silent_one_shows_signs_of_life(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_SSE_KEEPALIVE_MS="100")
    marker = held(upstream, after=1)
    body = {"input": f"hi {marker}", "background": True, "stream": True}
    with post(gateway, body, stream=True) as streamed:
        lines = (line for line in streamed.iter_lines() if line.startswith(b"data: "))
        events = [EVENTS.validate_json(line.removeprefix(b"data: ")) for line in islice(lines, 12)]
        upstream.control.wait("held", marker)
        upstream.control.release(marker)
        events += [EVENTS.validate_json(line.removeprefix(b"data: ")) for line in lines]
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) < len(numbers), "a sign of life has the number of the event before"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "abc"
    response_id = events[-1].response.id  # type: ignore[union-attr]
    again = told(get(gateway, response_id, stream="true"))
    assert [event["sequence_number"] for event in again] == sorted(set(numbers))


def test_events_without_room_are_told_at_the_end(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_BACKGROUND_EVENT_BYTES="65536")
    deltas = [f"{number:0100}" for number in range(400)]
    said = {"type": "message", "deltas": deltas}
    marker = upstream.play({"hold": True, "hold_after": 399, "items": [said]})
    body = {"input": f"hi {marker}", "background": True, "stream": True}
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(post, gateway, body)
        upstream.control.wait("held", marker)
        upstream.control.release(marker)
        live = told(following.result())
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    said_in = [event["delta"] for event in live if event["type"] == "response.output_text.delta"]
    assert said_in == deltas


def test_what_is_told_at_the_end_is_held_like_a_body(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(
        PROXY_BACKGROUND_EVENT_BYTES="65536",
        PROXY_BODY_MEMORY_BYTES=str(1 << 20),
        PROXY_MAX_BODY_BYTES="65536",
    )
    said = {"type": "message", "deltas": ["x" * 600] * 1500}
    marker = upstream.play({"hold": True, "hold_after": 1499, "items": [said]})
    body = {"input": f"hi {marker}", "background": True, "stream": True}
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(post, gateway, body)
        upstream.control.wait("held", marker)
        upstream.control.release(marker)
        answered = following.result()
    (*_, last) = told(answered)
    assert (last["type"], last["code"]) == ("error", "BODIES_FULL")
    request_id = answered.headers["X-Request-Id"]
    line = line_of(gateway, request_id)
    assert (line["outcome"], line["error_code"]) == ("failed", "BODIES_FULL")
    assert line_of(gateway, request_id, "background_answer")["outcome"] == "completed"


# Cancelled, removed


def test_the_sdk_cancels_one(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = held(upstream, after=2)
    begun = sdk.responses.create(model=MODEL, input=f"hi {marker}", background=True)
    upstream.control.wait("held", marker)
    wait_until(lambda: sdk.responses.retrieve(begun.id).status == "in_progress", "it runs")
    cancelled = sdk.responses.cancel(begun.id)
    assert cancelled.status == "cancelled"
    upstream.control.wait("peer_closed", marker)
    assert sdk.responses.cancel(begun.id) == cancelled
    assert sdk.responses.retrieve(begun.id) == cancelled


def test_the_stream_of_one_that_is_cancelled_ends(gateway: Gateway, upstream: Upstream) -> None:
    marker = held(upstream, after=2)
    response_id = begin(gateway, marker)["id"]
    live = []
    for event in followed(gateway, response_id):
        live.append(event)
        if event.get("delta") == "b":
            assert cancel(gateway, response_id).json()["status"] == "cancelled"
    assert live[-1]["type"] == "response.incomplete"
    assert live[-1]["response"]["status"] == "cancelled"
    (item,) = live[-1]["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "ab")
    wait_until(lambda: told(get(gateway, response_id, stream="true")) == live, "told again so")


def test_one_that_is_over_stays_as_it_is(gateway: Gateway, upstream: Upstream) -> None:
    whole = ended(gateway, begin(gateway, upstream.say("a"))["id"])
    again = cancel(gateway, whole["id"])
    assert (again.status_code, again.json()) == (200, whole)


def test_only_a_background_response_can_be_cancelled(gateway: Gateway, upstream: Upstream) -> None:
    whole = answer(gateway, input=f"hi {upstream.say('a')}")
    refused = cancel(gateway, whole["id"])
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("Cannot cancel a synchronous response")
    assert cancel(gateway, "resp_none").status_code == 404


def test_what_waits_is_queued_and_can_be_cancelled(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    patience_ms = "200" if IS_SHARED else "5000"  # which has to do for a start, too
    gateway = lend_gateway(WORKER_MAX_CONCURRENCY="1", WORKER_QUEUE_TIMEOUT_MS=patience_ms)
    running, waiting = held(upstream), held(upstream)
    first = begin(gateway, running)["id"]
    upstream.control.wait("held", running)
    second = begin(gateway, waiting)["id"]
    third_marker = upstream.say("third")
    third = begin(gateway, third_marker)["id"]
    wait_until(lambda: gateway.get("/healthz").json()["child"]["waiting"] == 2, "both wait")
    refused = post(gateway, {"input": f"hi {upstream.say('x')}"})
    assert refused.json()["error"]["code"] == "WORKER_BUSY", "after the time that others wait"
    assert shown(gateway, second)["status"] == shown(gateway, third)["status"] == "queued"
    assert cancel(gateway, second).json()["status"] == "cancelled"
    upstream.control.release(running)
    assert ended(gateway, first)["status"] == "completed"
    assert ended(gateway, third)["status"] == "completed"
    assert upstream.control.requests(waiting) == []


def test_one_that_is_removed_is_ended(gateway: Gateway, upstream: Upstream) -> None:
    marker = held(upstream)
    response_id = begin(gateway, marker)["id"]
    upstream.control.wait("held", marker)
    url = f"{gateway.url}/v1/responses/{response_id}"
    removed = requests.delete(url, headers=gateway.headers, timeout=30)
    assert removed.json() == {"id": response_id, "object": "response", "deleted": True}
    upstream.control.wait("peer_closed", marker)
    assert get(gateway, response_id).status_code == 404
    assert cancel(gateway, response_id).status_code == 404


# What is refused


def test_it_has_to_be_stored(gateway: Gateway, lend_gateway: Callable[..., Gateway]) -> None:
    status, code, param, message = refusal(gateway, input="hi", background=True, store=False)
    assert (status, code, param) == (400, "invalid_value", "background")
    assert "store" in message
    off = lend_gateway(PROXY_RESPONSE_STORE="off")
    status, code, param, _ = refusal(off, input="hi", background=True)
    assert (status, code, param) == (400, "unsupported_parameter", "background")


def test_one_that_still_runs_cannot_be_continued(gateway: Gateway, upstream: Upstream) -> None:
    marker = held(upstream)
    response_id = begin(gateway, marker)["id"]
    status, code, param, message = refusal(gateway, input="and?", previous_response_id=response_id)
    assert (status, code, param) == (400, "RESPONSE_IN_PROGRESS", "previous_response_id")
    assert response_id in message
    upstream.control.wait("held", marker)
    assert cancel(gateway, response_id).json()["status"] == "cancelled"


def test_each_key_has_a_share(lend_gateway: Callable[..., Gateway], upstream: Upstream) -> None:
    gateway = lend_gateway(PROXY_BACKGROUND_MAX_CONCURRENCY="4", PROXY_API_KEYS=f"other={OTHER}")
    markers = [held(upstream) for _ in range(3)]
    begun = [begin(gateway, marker)["id"] for marker in markers]
    refused = post(gateway, {"input": "hi", "background": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "WORKER_BUSY")
    other = requests.post(
        f"{gateway.url}/v1/responses",
        json={"model": MODEL, "input": f"hi {upstream.say('a')}", "background": True},
        headers={"Authorization": f"Bearer {OTHER}"},
        timeout=DEADLINE_S,
    )
    assert other.status_code == 200
    stranger = requests.get(
        f"{gateway.url}/v1/responses/{begun[0]}",
        headers={"Authorization": f"Bearer {OTHER}"},
        timeout=DEADLINE_S,
    )
    assert stranger.status_code == 404
    for response_id in begun:
        assert cancel(gateway, response_id).json()["status"] == "cancelled"


def test_a_key_at_its_limit_can_still_cancel(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_KEY_MAX_CONCURRENCY="1")
    marker = held(upstream)
    response_id = begin(gateway, marker)["id"]
    upstream.control.wait("held", marker)
    refused = post(gateway, {"input": "hi"})
    assert refused.json()["error"]["code"] == "KEY_BUSY"
    assert cancel(gateway, response_id).json()["status"] == "cancelled"
    wait_until(
        lambda: post(gateway, {"input": f"hi {upstream.say('a')}"}).status_code == 200,
        "its place is free",
    )


def test_it_is_counted_and_logged(lend_gateway: Callable[..., Gateway], upstream: Upstream) -> None:
    gateway = lend_gateway()
    ended(gateway, begin(gateway, upstream.say("a"))["id"])
    line = wait_until(lambda: gateway.events("background_answer"), "its line is written")[-1]
    assert (line["outcome"], line["finish_reason"]) == ("completed", "completed")
    assert line["completion_tokens"] > 0
    metrics = gateway.get("/metrics").text
    assert 'codex_background_responses_total{outcome="completed"}' in metrics
    assert "codex_background_responses_active 0.0" in metrics
    assert "codex_background_event_bytes 0.0" in metrics
