"""An endpoint with field names and end reasons of its own needs nothing below `api`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, MODEL, Gateway, Upstream, start_gateway
from tests.e2e.in_flight import line_of

SIGN_OF_LIFE = 'event: summary.piece\ndata: {"piece":""}\n\n'
"""What a slow upstream makes the first event of a stream."""

TOO_LONG = {"failure": {"name": "context_length_exceeded"}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("summaries")
    running = start_gateway(folder, upstream, app="tests.fakes.summaries.wsgi:app")
    running.wait_ready()
    yield running
    assert running.stop() == 0


def post(gateway: Gateway, *, as_it_comes: bool = False, **body: Any) -> requests.Response:
    return requests.post(
        f"{gateway.url}/v1/summaries",
        json={"by": MODEL, **body},
        headers=gateway.headers,
        timeout=DEADLINE_S,
        stream=as_it_comes,
    )


def test_a_whole_answer_is_the_endpoint_s_object(gateway: Gateway, upstream: Upstream) -> None:
    answer = post(gateway, text=f"[{upstream.say('hel', 'lo')}]")
    assert answer.status_code == 200
    summary = answer.json()
    assert summary.pop("id").startswith("sum-")
    assert summary == {"summary": "hello", "end": "done", "model": MODEL}
    line = line_of(gateway, answer.headers["X-Request-Id"])
    assert (line["route"], line["finish_reason"]) == ("/v1/summaries", "done")


def test_a_stream_has_the_endpoint_s_events(gateway: Gateway, upstream: Upstream) -> None:
    answer = post(gateway, text=f"[{upstream.say('hel', 'lo')}]", stream=True, max_words=1)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.text.removeprefix(SIGN_OF_LIFE) == (
        'event: summary.piece\ndata: {"piece":"hel"}\n\n'
        'event: summary.over\ndata: {"end":"cut"}\n\n'
    )


def test_a_stream_that_has_nothing_to_say_yet_says_so(gateway: Gateway, upstream: Upstream) -> None:
    script = {"items": [{"type": "message", "text": "\u2028"}], "hold_before_headers": True}
    marker = upstream.play(script)
    answer = post(gateway, text=f"[{marker}]", stream=True, as_it_comes=True)
    lines = answer.iter_lines(decode_unicode=True)
    assert [next(lines), next(lines)] == ["event: summary.piece", 'data: {"piece":""}']
    upstream.control.wait("held", marker)
    upstream.control.release(marker)
    assert [*lines][1:3] == ["event: summary.piece", 'data: {"piece":"\\u2028"}']


def test_a_wrong_model_names_the_endpoint_s_field(gateway: Gateway) -> None:
    for by, status, code in (
        ("gpt-0", 404, "model_not_found"),
        (None, 400, "missing_required_parameter"),
    ):
        answer = post(gateway, text="hello", by=by)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, "by")


def test_a_wrong_field_is_named_and_an_unknown_one_does_no_harm(
    gateway: Gateway, upstream: Upstream
) -> None:
    for wrong, param in (
        ({}, "text"),
        ({"text": 1}, "text"),
        ({"text": "x", "max_words": 0}, "max_words"),
    ):
        answer = post(gateway, **wrong)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert post(gateway, text=f"[{upstream.say('a')}]", stream=None, mood="good").status_code == 200


def test_a_failure_names_the_endpoint_s_field(gateway: Gateway, upstream: Upstream) -> None:
    answer = post(gateway, text=f"[{upstream.play(TOO_LONG)}]")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (
        400,
        "context_length_exceeded",
        "text",
    )
    assert error["message"].endswith("Please reduce the length of the text.")


def test_a_failure_in_a_stream_is_the_endpoint_s_event(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.play(
        {
            "hold": True,
            "items": [{"type": "message", "deltas": ["so", "on"]}],
            "failure": {"name": "cut_mid_stream", "after_deltas": 2},
        }
    )
    answer = post(gateway, text=f"[{marker}]", stream=True, as_it_comes=True)
    lines = answer.iter_lines()
    assert b'data: {"piece":"so"}' in lines
    upstream.control.release(marker)
    rest = b"\n".join(lines)
    assert b'event: summary.failed\ndata: {"error":' in rest
    assert b"[DONE]" not in rest


def test_it_is_in_the_document_with_what_it_says_of_itself(gateway: Gateway) -> None:
    document = gateway.get("/openapi.json").json()
    operation = document["paths"]["/v1/summaries"]["post"]
    assert operation["summary"] == "Answer with the summary of one text"
    assert {"401", "413", "429", "502"} < set(operation["responses"])
    body = document["components"]["schemas"]["SummaryRequest"]
    assert body["required"] == ["text"]
    assert body["properties"]["max_words"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10_000,
        "description": "The summary is cut at so many tokens.",
    }
