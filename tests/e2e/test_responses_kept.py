"""Responses that are kept: chains, retrieval, deletion, lists of input items, owners, restarts."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
import requests
from openai.types.responses import Response

from app.answer_store.sqlite_file import SqliteFile
from tests.e2e.harness import IS_SHARED, MODEL, Gateway, Upstream, wait_until
from tests.e2e.responses_api import LOOK, REASONING, SAID, TEXT, TOOL, answer, frames, post
from tests.fakes.redis_server import RedisServer
from tests.fakes.stored_answers import GB, MONTH_S, stored


def get(gateway: Gateway, path: str, **query: Any) -> requests.Response:
    return requests.get(
        f"{gateway.url}/v1/responses/{path}", params=query, headers=gateway.headers, timeout=30
    )


def test_a_chain_of_twenty_goes_on(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.play(
        [{"items": [{"type": "message", "deltas": ["a", str(n)]}]} for n in range(20)]
    )
    last = sdk.responses.create(model=MODEL, input=f"hi {marker}")
    for number in range(1, 20):
        last = sdk.responses.create(
            model=MODEL, input=f"and {number}?", previous_response_id=last.id
        )
        assert last.output_text == f"a{number}"
        assert (last.model_extra or {})["codex_metadata"]["continued"] is IS_SHARED
    *_, seen = upstream.control.requests(marker)
    said = [item for item in seen["body"]["input"] if item.get("role") in ("user", "assistant")]
    texts = [part["text"] for item in said for part in item["content"]]
    wanted = [f"hi {marker}", "a0"]
    for number in range(1, 20):
        wanted += [f"and {number}?", f"a{number}"]
    assert texts[-39:] == wanted[:-1]


def test_what_was_answered_can_be_asked_for(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [REASONING, SAID, LOOK]})
    whole = answer(gateway, input=f"hi {marker}", tools=[TOOL], metadata={"a": "b"})
    assert whole["store"] is True
    assert get(gateway, whole["id"]).json() == whole


def test_a_replayed_stream_ends_with_the_response(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [REASONING, SAID, LOOK]})
    whole = answer(gateway, input=f"hi {marker}", tools=[TOOL])
    events = [event for _, event in frames(get(gateway, whole["id"], stream="true"))]
    assert events[-1]["response"] == whole
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    later = [e for _, e in frames(get(gateway, whole["id"], stream="true", starting_after=3))]
    assert later == events[4:]


def test_a_deleted_response_is_gone(gateway: Gateway, upstream: Upstream) -> None:
    whole = answer(gateway, input=f"hi {upstream.say(*TEXT)}")
    url = f"{gateway.url}/v1/responses/{whole['id']}"
    deleted = requests.delete(url, headers=gateway.headers, timeout=30)
    assert deleted.json() == {"id": whole["id"], "object": "response", "deleted": True}
    for gone in (
        get(gateway, whole["id"]),
        get(gateway, f"{whole['id']}/input_items"),
        requests.delete(url, headers=gateway.headers, timeout=30),
    ):
        assert gone.status_code == 404
        assert gone.json()["error"]["message"] == f"Response with id '{whole['id']}' not found."


def test_nothing_is_kept_where_nobody_wants_it(gateway: Gateway, upstream: Upstream) -> None:
    whole = answer(gateway, input=f"hi {upstream.say(*TEXT)}", store=False)
    assert whole["store"] is False
    assert get(gateway, whole["id"]).status_code == 404


@pytest.mark.parametrize("previous", ["resp_none", "", "x" * 500, "resp_\u00e9"])
def test_an_unknown_response_cannot_be_continued(gateway: Gateway, previous: str) -> None:
    refused = post(gateway, {"input": "hi", "previous_response_id": previous})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == (
        "previous_response_not_found",
        "previous_response_id",
    )


def test_results_go_to_the_calls_of_the_response_before(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play([{"items": [REASONING, LOOK]}, {"items": [SAID]}])
    first = answer(gateway, input=f"hi {marker}", tools=[TOOL])
    missing = post(gateway, {"input": "x", "previous_response_id": first["id"], "tools": [TOOL]})
    assert missing.status_code == 400
    assert missing.json()["error"]["message"] == "No tool output found for function call call_1."
    result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
    second = answer(gateway, input=[result], previous_response_id=first["id"], tools=[TOOL])
    assert second["output"][0]["content"][0]["text"] == "".join(TEXT)
    assert second["previous_response_id"] == first["id"]


def test_a_call_that_is_sent_again_is_the_one_of_the_response_before(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play([{"items": [REASONING, LOOK]}, {"items": [SAID]}, {"items": [SAID]}])
    hi = {"role": "user", "content": f"hi {marker}"}
    first = answer(gateway, input=[hi], tools=[TOOL])
    again = {
        "type": "function_call",
        "name": "look",
        "arguments": '{"a":"b"}',
        "call_id": "call_1",
    }
    result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
    second = answer(
        gateway, input=[hi, again, result], previous_response_id=first["id"], tools=[TOOL]
    )
    answer(gateway, input="and?", previous_response_id=second["id"], tools=[TOOL])
    *_, seen = upstream.control.requests(marker)
    kinds = [item.get("role") or item["type"] for item in seen["body"]["input"]]
    assert kinds == [
        *("user", "reasoning", "function_call", "user", "function_call_output"),
        *("assistant", "user"),
    ]


def test_the_items_of_a_chain_are_listed(sdk: openai.OpenAI, upstream: Upstream) -> None:
    marker = upstream.play([{"items": [REASONING, SAID]}, {"items": [SAID]}])
    first = sdk.responses.create(model=MODEL, input=f"hi {marker}")
    second = sdk.responses.create(model=MODEL, input="and?", previous_response_id=first.id)
    listed = [*sdk.responses.input_items.list(second.id, limit=2, order="asc")]
    assert [item.type for item in listed] == ["message", "reasoning", "message", "message"]
    assert [item.id for item in [*sdk.responses.input_items.list(second.id)]] == [
        item.id for item in reversed(listed)
    ]


def test_pages_of_items_with_one_id_come_to_an_end(sdk: openai.OpenAI, upstream: Upstream) -> None:
    said: list[Any] = [{"role": "user", "content": f"{n}", "id": "msg_same"} for n in range(5)]
    said[0]["content"] += f" {upstream.say(*TEXT)}"
    whole = sdk.responses.create(model=MODEL, input=said)
    listed = sdk.responses.input_items.list(whole.id, limit=2, order="asc")
    found = [item for _, item in zip(range(9), listed, strict=False)]  # it went round in circles
    assert [item.model_dump()["content"][0]["text"][0] for item in found] == [*"01234"]


@pytest.mark.parametrize("odd", ["--1", "-", "", "1_0", "\u0663", "9" * 30, "1.5", "0", "-5"])
def test_what_is_no_number_is_no_number_of_items(
    gateway: Gateway, upstream: Upstream, odd: str
) -> None:
    whole = answer(gateway, input=f"hi {upstream.say(*TEXT)}")
    refused = get(gateway, f"{whole['id']}/input_items", limit=odd)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")


def test_what_is_no_number_is_no_place_in_a_stream(gateway: Gateway, upstream: Upstream) -> None:
    whole = answer(gateway, input=f"hi {upstream.say(*TEXT)}")
    refused = get(gateway, whole["id"], stream="true", starting_after="--1")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "starting_after")


def test_a_conversation_has_no_more_values_than_a_body_may_have(gateway: Gateway) -> None:
    file = SqliteFile(gateway.home / "gateway", GB, MONTH_S)
    given = orjson.dumps([{"type": "message", "role": "user", "content": "x", "id": "a"}] * 9_000)
    last = None
    for number in range(3):
        one = replace(stored(f"resp_many_{number}", last, "default"), given=given, made=b"[]")
        assert file.put(one)
        last = one.id
    file.close()
    for refused in (
        post(gateway, {"input": "hi", "previous_response_id": last}),
        get(gateway, f"{last}/input_items"),
    ):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
        assert "100000 JSON values" in error["message"]
    assert get(gateway, "resp_many_0/input_items").json()["has_more"] is True


def test_a_replay_is_held_with_all_its_copies(lend_gateway: Callable[..., Gateway]) -> None:
    gateway = lend_gateway(PROXY_BODY_MEMORY_BYTES=str(4 << 20), PROXY_MAX_BODY_BYTES=str(1 << 20))
    part = {"type": "output_text", "text": "x" * (1 << 20), "annotations": []}
    said = {"id": "msg_1", "type": "message", "role": "assistant", "content": [part]}
    whole = orjson.dumps({"id": "resp_long", "status": "completed", "output": [said]})
    file = SqliteFile(gateway.home / "gateway", GB, MONTH_S)
    assert file.put(replace(stored("resp_long", owner="default"), answer=whole))
    file.close()
    assert get(gateway, "resp_long").content == whole
    refused = get(gateway, "resp_long", stream="true")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "BODIES_FULL")


def kill_child(gateway: Gateway) -> None:
    gateway.child().kill()


def kill_worker(gateway: Gateway) -> None:
    (worker,) = gateway.workers()
    worker.kill()
    wait_until(lambda: gateway.workers() not in ([], [worker]), "another worker")
    gateway.wait_ready()


def reload(gateway: Gateway) -> None:
    (worker,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: worker not in gateway.workers(), "the worker has gone")
    gateway.wait_ready()


SHARED = pytest.param(kill_child, marks=pytest.mark.app_server)


@pytest.mark.parametrize("disturb", [SHARED, kill_worker, reload])
def test_a_chain_goes_on_after_a_disturbance(
    make_gateway: Callable[..., Gateway],
    upstream: Upstream,
    disturb: Callable[[Gateway], None],
) -> None:
    gateway = make_gateway()
    marker = upstream.play([{"items": [REASONING, SAID]}, {"items": [SAID]}])
    first = answer(gateway, input=f"hi {marker}")
    disturb(gateway)
    second = answer(gateway, input="and?", previous_response_id=first["id"])
    assert Response.model_validate(second).output_text == "".join(TEXT)
    (_, seen) = upstream.control.requests(marker)
    thought = [item for item in seen["body"]["input"] if item["type"] == "reasoning"]
    assert [item["encrypted_content"] for item in thought] == ["sealed"]
    assert get(gateway, first["id"]).json() == first


@pytest.mark.system
def test_a_chain_goes_on_at_another_replica(
    make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        one, other = (make_gateway(PROXY_RESPONSE_STORE=redis.url) for _ in range(2))
        marker = upstream.play([{"items": [REASONING, LOOK]}, {"items": [SAID]}])
        first = answer(one, input=f"hi {marker}", tools=[TOOL])
        result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
        second = answer(other, input=[result], previous_response_id=first["id"], tools=[TOOL])
        assert get(one, second["id"]).json() == second
        thought = first["output"][0]["id"]
        reference = [{"type": "item_reference", "id": thought}, {"role": "user", "content": "x"}]
        assert answer(one, input=reference)["status"] == "completed"
        redis.kill()
        kept_no_more = answer(other, input=f"hi {upstream.say(*TEXT)}")
        assert kept_no_more["store"] is False
        lost = post(other, {"input": "and?", "previous_response_id": second["id"]})
        assert (lost.status_code, lost.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
    finally:
        redis.kill()


def test_without_a_store_nothing_can_be_continued(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_RESPONSE_STORE="off")
    whole = answer(gateway, input=f"hi {upstream.say(*TEXT)}")
    assert whole["store"] is False
    refused = post(gateway, {"input": "and?", "previous_response_id": whole["id"]})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "unsupported_parameter")
    assert "PROXY_RESPONSE_STORE=off" in error["message"]
    assert get(gateway, whole["id"]).status_code == 404


def test_items_that_were_kept_can_be_referred_to(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play([{"items": [REASONING, SAID, LOOK]}, {"items": [SAID]}])
    first = answer(gateway, input=f"hi {marker}", tools=[TOOL])
    thought, said, call = (item["id"] for item in first["output"])
    inline = {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "call_1"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
    hi = {"role": "user", "content": f"hi {marker}"}
    answer(
        gateway,
        input=[hi, {"type": "item_reference", "id": thought}, {"id": said}, inline, result],
        tools=[TOOL],
    )
    _, seen = upstream.control.requests(marker)
    items = seen["body"]["input"][-5:]
    kinds = [item["type"] for item in items]
    assert kinds == ["message", "reasoning", "message", "function_call", "function_call_output"]
    assert items[1]["encrypted_content"] == "sealed"
    assert items[2]["content"][0]["text"] == "".join(TEXT)
    unknown = post(gateway, {"input": [hi, {"type": "item_reference", "id": "rs_none"}]})
    assert unknown.json()["error"]["message"] == "Item with id 'rs_none' not found."
    twice = post(gateway, {"input": [hi, *[{"type": "item_reference", "id": said}] * 2]})
    assert twice.status_code == 400
    assert twice.json()["error"]["message"].startswith(f"Duplicate item found with id {said}.")
    assert call not in ("", thought, said)


def test_reasoning_that_nobody_can_read_is_no_reference(
    gateway: Gateway, upstream: Upstream
) -> None:
    thought = {"type": "reasoning", "summary_deltas": ["hm"]}
    marker = upstream.play([{"items": [thought, SAID]}, {"items": [SAID]}])
    first = answer(gateway, input=f"hi {marker}")
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    second = answer(gateway, input=[reference, {"role": "user", "content": f"and? {marker}"}])
    assert second["codex_metadata"]["ignored_parameters"] == ["input.reasoning"]
    _, seen = upstream.control.requests(marker)
    assert [item for item in seen["body"]["input"] if item["type"] == "reasoning"] == []


def test_another_keys_responses_are_nobodys_business(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    other = "o" * 32
    gateway = make_gateway(PROXY_API_KEYS=f"other={other}")
    marker = upstream.play([{"items": [REASONING, SAID]}, {"items": [SAID]}])
    whole = answer(gateway, input=f"hi {marker}")
    headers = {"Authorization": f"Bearer {other}"}
    url = f"{gateway.url}/v1/responses/{whole['id']}"
    for asked in (
        requests.get(url, headers=headers, timeout=30),
        requests.get(f"{url}/input_items", headers=headers, timeout=30),
        requests.delete(url, headers=headers, timeout=30),
    ):
        assert (asked.status_code, asked.json()["error"]["code"]) == (404, "RESPONSE_NOT_FOUND")
    body = {"model": MODEL, "input": "and?", "previous_response_id": whole["id"]}
    continued = requests.post(f"{gateway.url}/v1/responses", json=body, headers=headers, timeout=30)
    assert continued.json()["error"]["code"] == "previous_response_not_found"
    (thought, _) = whole["output"]
    body = {"model": MODEL, "input": [{"type": "item_reference", "id": thought["id"]}]}
    referred = requests.post(f"{gateway.url}/v1/responses", json=body, headers=headers, timeout=30)
    assert referred.status_code == 400
    assert get(gateway, whole["id"]).json() == whole


def test_a_reference_is_told_that_nothing_is_kept(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_RESPONSE_STORE="off")
    first = answer(gateway, input=f"hi {upstream.say(*TEXT)}")
    assert first["store"] is False
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    refused = post(gateway, {"input": [{"role": "user", "content": "hi"}, reference]})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "input[1]")
    assert "PROXY_RESPONSE_STORE" in error["message"]


def test_more_references_than_are_looked_up_are_refused_in_words(gateway: Gateway) -> None:
    references = [{"type": "item_reference", "id": f"rs_{number}"} for number in range(1001)]
    refused = post(gateway, {"input": references})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "input")
    assert error["code"] == "array_above_max_length"
    few = post(gateway, {"input": references[:2]}).json()["error"]
    assert few["message"] == "Item with id 'rs_0' not found."
