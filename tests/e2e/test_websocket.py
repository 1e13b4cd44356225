"""WebSocket mode of the Responses API: each message answered as a POST is, and what goes on with what."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import openai
import pytest
import requests
from websockets.exceptions import InvalidStatus

from tests.e2e.gateway_pool import ADMIN_KEY, EVERY_KEY, SECOND_KEY
from tests.e2e.harness import MODEL, Gateway, Upstream, wait_until
from tests.e2e.responses_api import LOOK, REASONING, SAID, TOOL, items, kinds, post, stream
from tests.e2e.scrape import scrape, total
from tests.e2e.websockets import (
    PATH,
    RawSocket,
    ask,
    await_nothing_left,
    dial,
    events,
    failure,
    masked,
    message,
    send,
    until,
    whole,
)

Json = dict[str, Any]

CUT = {"name": "cut_mid_stream", "after_deltas": 2}
SLOWLY = {"interval_ms": 20}
SCRIPTS: dict[str, tuple[Json, Json]] = {
    "a text": ({"items": [SAID]}, {}),
    "reasoning": (
        {"items": [REASONING, SAID]},
        {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    ),
    "a call": ({"items": [LOOK]}, {"tools": [TOOL], "metadata": {"a": "b"}}),
    "a failure": ({"items": [SAID], "failure": CUT, **SLOWLY}, {}),
    "a cut": ({"items": [SAID], "status": "max_output_tokens"}, {}),
}
OF_THE_MOMENT = frozenset(
    {
        *("id", "item_id", "created_at", "completed_at", "thread_id", "turn_id", "call_id"),
        *("ttft_ms", "duration_ms", "continued", "cached_tokens", "usage"),
    }
)


def lasting(value: Any) -> Any:
    """A value without what differs from answer to answer."""
    if isinstance(value, dict):
        return {
            name: type(it).__name__ if name in OF_THE_MOMENT else lasting(it)
            for name, it in value.items()
        }
    return [lasting(it) for it in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", SCRIPTS)
def test_events_are_those_of_the_stream(gateway: Gateway, upstream: Upstream, name: str) -> None:
    script, body = SCRIPTS[name]
    streamed = stream(gateway, input=upstream.play(script), **body)
    with dial(gateway) as client:
        told = ask(client, input=upstream.play(script), **body)
    assert lasting(told) == lasting(streamed)
    assert told[-1]["response"]["id"] == told[0]["response"]["id"]


def test_a_message_is_a_request_of_its_own(gateway: Gateway, upstream: Upstream) -> None:
    with dial(gateway) as client:
        for _ in range(2):
            whole(client, input=upstream.say("a"))
        assert failure(client, input=5) == (400, "invalid_type", "input")
    lines = wait_until(lambda: _lines(gateway, 4), "all lines are there")
    *answered, refused, connection = lines[-4:]
    ids = {line["request_id"] for line in lines[-4:]}
    assert len(ids) == 4
    for line in (*answered, refused):
        assert (line["method"], line["route"], line["transport"]) == ("POST", PATH, "websocket")
    assert [(line["status"], line["outcome"]) for line in answered] == [(200, "completed")] * 2
    assert answered[0]["model"] == MODEL
    assert (refused["status"], refused["error_code"]) == (400, "invalid_type")
    assert (connection["method"], connection["status"]) == ("GET", 101)
    assert "transport" not in connection


def _lines(gateway: Gateway, count: int) -> list[Json] | None:
    lines = [line for line in gateway.events("request") if line["route"] == PATH]
    return lines if len(lines) >= count and lines[-1]["status"] == 101 else None


def test_200_answers_on_one_connection(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("a", "b")
    with dial(gateway) as client:
        before = None
        for _ in range(200):
            before = whole(client, input=marker, store=False, previous_response_id=before)["id"]
    assert len(items(upstream, marker)) == 2 * 200 - 1
    await_nothing_left(gateway)


# What goes on with what


def test_what_is_not_stored_can_be_continued_here_alone(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker, more = upstream.say("first"), upstream.say("second")
    with dial(gateway) as client, dial(gateway) as other:
        response = whole(client, input=marker, store=False)
        assert response["store"] is False
        id_ = response["id"]
        not_found = (400, "previous_response_not_found", "previous_response_id")
        assert failure(other, input="x", previous_response_id=id_) == not_found
        assert gateway.get(f"{PATH}/{id_}").status_code == 404
        answered = whole(client, input=more, previous_response_id=id_)
        assert answered["store"] is False, "what it stands on is gone with the connection"
        assert [_text(it) for it in items(upstream, more)] == [marker, "first", more]
        third = upstream.say("third")
        whole(client, input=third, previous_response_id=answered["id"])
        assert [_text(it) for it in items(upstream, third)][-3:] == [more, "second", third]
        assert whole(client, input=marker, previous_response_id=id_), "a fork"


def _text(item: Json) -> str:
    text: str = item["content"][0]["text"]
    return text


def test_what_is_stored_can_be_continued_anywhere(gateway: Gateway, upstream: Upstream) -> None:
    marker, more = upstream.say("first"), upstream.say("second")
    with dial(gateway) as client:
        id_ = whole(client, input=marker)["id"]
    assert gateway.get(f"{PATH}/{id_}").json()["status"] == "completed"
    with dial(gateway) as client:
        unstored = whole(client, input=more, previous_response_id=id_, store=False)["id"]
        whole(client, input=marker, previous_response_id=unstored)
    assert [_text(it) for it in items(upstream, marker)] == [
        marker,
        "first",
        more,
        "second",
        marker,
    ]


def test_a_loop_over_tools_sends_only_what_is_new(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play([{"items": [LOOK]}, {"items": [SAID]}])
    with dial(gateway) as client:
        called = whole(client, input=marker, tools=[TOOL], store=False)
        result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
        told = whole(
            client,
            input=[result],
            tools=[TOOL],
            store=False,
            previous_response_id=called["id"],
        )
    assert told["output"][-1]["type"] == "message"
    assert [it["type"] for it in items(upstream, marker)] == [
        *("message", "function_call", "function_call_output"),
    ]


def test_an_error_forgets_what_it_went_on_with(gateway: Gateway, upstream: Upstream) -> None:
    with dial(gateway) as client:
        id_ = whole(client, input=upstream.say("a"), store=False)["id"]
        orphan = {"type": "function_call_output", "call_id": "call_none", "output": "x"}
        status, _, _ = failure(client, input=[orphan], store=False, previous_response_id=id_)
        assert status == 400
        again = failure(client, input="x", store=False, previous_response_id=id_)
        assert again[:2] == (400, "previous_response_not_found")
        broken = {"items": [SAID], "failure": CUT, **SLOWLY}
        id_ = whole(client, input=upstream.say("b"), store=False)["id"]
        told = ask(client, input=upstream.play(broken), store=False, previous_response_id=id_)
        assert told[-1]["type"] == "response.failed"
        again = failure(client, input="x", store=False, previous_response_id=id_)
        assert again[:2] == (400, "previous_response_not_found")


def test_a_warm_up_asks_nobody_and_is_continued(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("a")
    with dial(gateway) as client:
        for given in ([], [{"role": "developer", "content": "Be brief."}]):
            told = ask(client, input=given, generate=False, instructions="Be kind.", tools=[TOOL])
            assert kinds(told) == ["created", "in_progress", "completed"]
            response = told[-1]["response"]
            assert response["output"] == []
            assert response["usage"]["total_tokens"] == 0
            assert whole(client, input=marker, previous_response_id=response["id"])["output"]
    assert len(upstream.control.requests(marker)) == 2
    assert [_text(it) for it in items(upstream, marker)] == ["Be brief.", marker]


def test_without_a_store_a_connection_goes_on_with_its_own(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_RESPONSE_STORE="off")
    with dial(gateway) as client:
        id_ = whole(client, input=upstream.say("a"))["id"]
        marker = upstream.say("b")
        whole(client, input=marker, previous_response_id=id_)
        assert len(items(upstream, marker)) == 3
        code = failure(client, input="x", previous_response_id="resp_none")[1]
        assert code == "previous_response_not_found"


def test_what_finds_no_room_is_forgotten(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_WEBSOCKET_ANSWER_BYTES="65536")
    with dial(gateway) as client:
        long = "x" * 40_000
        ids = [
            whole(client, input=f"{upstream.say('a')} {long}", store=False)["id"] for _ in range(2)
        ]
        code = failure(client, input="x", store=False, previous_response_id=ids[0])[1]
        assert code == "previous_response_not_found"
        assert whole(client, input=upstream.say("b"), store=False, previous_response_id=ids[1])
        assert total(scrape(gateway), "codex_overflows_total", queue="websocket_answers") >= 1
        whole(client, input=f"{upstream.say('a')} {'x' * 80_000}", store=False)
    await_nothing_left(gateway)


# Several at once


def test_a_second_message_waits_for_the_first(gateway: Gateway, upstream: Upstream) -> None:
    first = upstream.play({"items": [SAID], "hold": "deltas"})
    second = upstream.say("second")
    with dial(gateway) as client:
        send(client, input=first, stream_id="one")
        send(client, input=second, stream_id="two")
        upstream.control.wait("held", first)
        assert upstream.control.requests(second) == []
        upstream.control.release(first)
        told, more = events(client), events(client)
    assert {event["stream_id"] for event in told} == {"one"}
    assert {event["stream_id"] for event in more} == {"two"}
    assert more[-1]["response"]["output"][0]["content"][0]["text"] == "second"


def test_an_error_says_its_stream(gateway: Gateway) -> None:
    with dial(gateway) as client:
        (event,) = ask(client, stream_id="a", temperature=5, input="x")
    assert (event["status"], event["stream_id"]) == (400, "a")
    assert event["headers"]["x-request-id"] == event["error"]["headers"]["x-request-id"]


def test_pings_are_answered_while_a_turn_runs(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [SAID], "hold": "deltas"})
    with dial(gateway) as client:
        send(client, input=marker)
        upstream.control.wait("held", marker)
        assert client.ping().wait(20)
        upstream.control.release(marker)
        assert events(client)[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ("{", "INVALID_JSON", None),
        ("[]", "invalid_type", "body"),
        ("{}", "missing_required_parameter", "type"),
        ('{"type": "response.steer"}', "invalid_value", "type"),
        ('{"type": "response.create"}', "missing_required_parameter", "model"),
        ('{"type": "response.create", "generate": 1}', "invalid_type", "generate"),
        ('{"type": "response.create", "background": true}', "unsupported_parameter", "background"),
        ('{"type": "response.create", "stream_id": 1}', "invalid_type", "stream_id"),
        ('{"type": "response.create", "stream_id": ""}', "invalid_value", "stream_id"),
    ],
)
def test_a_bad_message_is_named_and_the_connection_goes_on(
    gateway: Gateway, upstream: Upstream, sent: str, code: str, param: str | None
) -> None:
    with dial(gateway) as client:
        client.send(sent)
        (event,) = events(client)
        assert (event["status"], event["error"]["code"]) == (400, code)
        assert event["error"]["param"] == param
        client.send(json.dumps({"type": "response.processed", "response_id": "resp_1"}))
        assert whole(client, input=upstream.say("a"))


def test_a_message_in_many_frames_and_with_the_handshake(
    gateway: Gateway, upstream: Upstream
) -> None:
    whole_message = message(input=upstream.say("a"), instructions="\N{EURO SIGN}" * 10)
    pieces = [whole_message[at : at + 7] for at in range(0, len(whole_message), 7)]
    frames = [
        masked(piece, 1 if place == 0 else 0, final=place == len(pieces) - 1)
        for place, piece in enumerate(pieces)
    ]
    with RawSocket(gateway, ahead=masked(b"", 9).join(frames)) as client:
        assert client.status == 101
        pongs = [client.frame()[0] for _ in frames[1:]]
        assert set(pongs) == {10}
        assert client.event()["type"] == "response.created"


# Who may open one, and when


def lines_of(gateway: Gateway, request_id: str) -> list[dict[str, Any]]:
    return [line for line in gateway.events("request") if line["request_id"] == request_id]


def test_the_handshake_is_refused_as_any_request(gateway: Gateway) -> None:
    for key, status in (("wrong", 401), ("", 401)):
        with pytest.raises(InvalidStatus) as refused:
            dial(gateway, key)
        assert refused.value.response.status_code == status
        assert b'"code":"invalid_api_key"' in (refused.value.response.body or b"")
    for wrong in ({"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Key": "short"}):
        headers = {**wrong, "X-Request-Id": uuid4().hex}
        with RawSocket(gateway, headers=headers) as client:
            assert client.status == 400
        (line,) = wait_until(partial(lines_of, gateway, headers["X-Request-Id"]), "it is logged")
        assert line["error_code"] == "INVALID_WEBSOCKET"


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "1.0"},
        {"headers": {"Content-Length": "5"}, "ahead": b"hello"},
        {"headers": {"Transfer-Encoding": "chunked"}, "ahead": b"0\r\n\r\n"},
    ],
)
def test_a_handshake_in_an_old_version_or_with_a_body_is_refused(
    gateway: Gateway, wrong: dict[str, Any]
) -> None:
    with RawSocket(gateway, **wrong) as client:
        assert client.status == 400


def test_any_other_get_is_what_it_was(gateway: Gateway) -> None:
    plain = gateway.get(PATH)
    assert (plain.status_code, plain.json()["error"]["code"]) == (405, "method_not_supported")
    assert "POST" in plain.headers["Allow"]
    assert "GET" not in plain.headers["Allow"]
    headers = {**gateway.headers, "Upgrade": "h2c", "Connection": "Upgrade"}
    assert requests.get(f"{gateway.url}{PATH}", headers=headers, timeout=30).status_code == 405


def test_maintenance_closes_handshakes_and_messages(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(**EVERY_KEY)
    admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
    url = f"{gateway.url}/internal/maintenance"
    with dial(gateway) as client:
        requests.post(url, json={"enabled": True}, headers=admin, timeout=30).raise_for_status()
        assert failure(client, input="x")[:2] == (503, "MAINTENANCE")
        with pytest.raises(InvalidStatus) as refused:
            dial(gateway)
        assert refused.value.response.status_code == 503
        requests.delete(url, headers=admin, timeout=30).raise_for_status()
        assert whole(client, input=upstream.say("a"))


def test_pages_of_other_origins_are_refused(
    lend_gateway: Callable[..., Gateway], gateway: Gateway
) -> None:
    with dial(gateway, Origin="https://anywhere.example"):
        pass  # the default is open
    strict = lend_gateway(PROXY_CORS_ALLOWED_ORIGINS="https://page.example")
    for origin in ("https://page.example", f"http://127.0.0.1:{strict.port}"):
        with dial(strict, Origin=origin):
            pass
    with pytest.raises(InvalidStatus) as refused:
        dial(strict, Origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_messages_count_against_the_limits_of_their_key(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_RATE_LIMIT="3/hour")
    marker = upstream.say("a")
    with dial(gateway) as client:
        for _ in range(2):
            whole(client, input=marker)
            client.send(json.dumps({"type": "response.processed", "response_id": "resp_1"}))
        assert post(gateway, {"input": marker}).status_code == 200
        client.send(json.dumps({"type": "response.processed", "response_id": "resp_1"}))
        (event,) = ask(client, input=marker)
        with pytest.raises(TimeoutError):
            client.recv(0.2)
    assert (event["status"], event["error"]["code"]) == (429, "rate_limit_exceeded")
    assert event["headers"]["x-ratelimit-remaining-requests"] == "0"
    assert int(event["headers"]["retry-after"]) > 0


def test_one_key_does_not_get_all_places(lend_gateway: Callable[..., Gateway]) -> None:
    settings = {"PROXY_API_KEYS": f"second={SECOND_KEY}", "PROXY_WEBSOCKET_MAX_CONCURRENCY": "4"}
    gateway = lend_gateway(**settings)
    opened = [dial(gateway) for _ in range(3)]
    with pytest.raises(InvalidStatus) as refused:
        dial(gateway)
    assert refused.value.response.status_code == 429
    with dial(gateway, SECOND_KEY):
        assert total(scrape(gateway), "codex_websockets_open") == 4
    for client in opened:
        client.close()
    await_nothing_left(gateway)


def test_they_can_be_switched_off(lend_gateway: Callable[..., Gateway]) -> None:
    gateway = lend_gateway(PROXY_WEBSOCKET_MAX_CONCURRENCY="0")
    with pytest.raises(InvalidStatus) as refused:
        dial(gateway)
    assert refused.value.response.status_code == 405


# openai-python


def test_the_sdk_converses(sdk: openai.OpenAI, gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("he", "llo")
    with sdk.responses.connect() as connection:
        before: str | None = None
        for _ in range(2):
            more: Any = {} if before is None else {"previous_response_id": before}
            connection.response.create(model=MODEL, input=marker, store=False, **more)
            text = ""
            for event in connection:
                if event.type == "response.output_text.delta":
                    text += event.delta
                if event.type == "response.completed":
                    before = event.response.id
                    break
            assert text == "hello"
        connection.response.create(model=MODEL, input=marker, previous_response_id="resp_none")
        error = connection.recv()
        assert error.type == "error"
        assert error.status == 400
        assert error.error.code == "previous_response_not_found"
    await_nothing_left(gateway)


def test_a_client_that_closes_ends_its_turn(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [SAID], "hold": "deltas"})
    with dial(gateway) as client:
        send(client, input=marker)
        until(client, "response.output_text.delta")
    upstream.control.wait("peer_closed", marker)
    await_nothing_left(gateway)
