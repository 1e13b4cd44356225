from typing import Any

import pytest

from scripted_upstream.failures import FAILURES, FailedEvent, HttpFailure
from scripted_upstream.fields import ScriptError
from scripted_upstream.script import (
    FunctionCall,
    Item,
    Message,
    RawItem,
    Reasoning,
    Response,
    Usage,
    parse_script,
)


@pytest.mark.parametrize(
    ("raw", "item"),
    [
        ({"type": "message", "deltas": ["a", "b"]}, Message(("a", "b"))),
        ({"type": "message", "text": "abcde", "chunk": 2}, Message(("ab", "cd", "e"))),
        ({"type": "message", "text": "abc"}, Message(("abc",))),
        ({"type": "message", "text": ""}, Message(())),
        ({"type": "message", "text": "x ", "repeat": 3}, Message(("x ", "x ", "x "))),
        ({"type": "message", "refusal": "no"}, Message((), "no")),
        (
            {"type": "reasoning", "summary_deltas": ["s"], "encrypted_content": "e"},
            Reasoning(("s",), (), "e"),
        ),
        (
            {"type": "function_call", "name": "f", "arguments": "{oops", "argument_chunks": 3},
            FunctionCall("f", "{oops", None, 3),
        ),
        ({"type": "web_search_call", "id": "w"}, RawItem(b'{"type":"web_search_call","id":"w"}')),
    ],
)
def test_an_item_is_read(raw: dict[str, Any], item: Item) -> None:
    assert parse_script({"items": [raw]}).responses[0].items == (item,)


def test_the_settings_of_a_response_are_read() -> None:
    raw = {
        "delay_ms": 1,
        "first_delta_ms": 2,
        "interval_ms": 3.5,
        "usage": {"input_tokens": 10, "cached_tokens": 4, "output_tokens": 2},
        "status": "max_output_tokens",
        "split": "bytes",
        "seed": 7,
        "hold": True,
        "hold_after": 4,
        "hold_before_headers": True,
        "from_request": True,
        "headers": {"x-a": "1"},
    }
    assert parse_script(raw).responses == (
        Response(
            delay_ms=1,
            first_delta_ms=2,
            interval_ms=3.5,
            usage=Usage(10, 4, 2),
            incomplete="max_output_tokens",
            split_seed=7,
            hold="deltas",
            hold_after=4,
            hold_before_headers=True,
            from_request=True,
            headers=(("x-a", "1"),),
        ),
    )


def test_the_last_response_repeats() -> None:
    script = parse_script([{"delay_ms": 1}, {"delay_ms": 2}])
    assert [script.response(call).delay_ms for call in range(4)] == [1, 2, 2, 2]


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_has_a_short_form(name: str) -> None:
    response = parse_script({"failure": name}).responses[0]
    assert response.failure == FAILURES[name]
    assert response.failure_name == name


def test_an_http_failure_takes_any_status_body_and_headers() -> None:
    failure = {
        "name": "rate_limited",
        "status": 418,
        "body": {"x": 1},
        "headers": {"retry-after": "9"},
    }
    assert parse_script({"failure": failure}).responses[0].failure == HttpFailure(
        418, b'{"x":1}', (("retry-after", "9"),)
    )


def test_a_string_body_is_sent_as_it_stands() -> None:
    failure = parse_script({"failure": {"name": "bad_request", "body": "<p>"}}).responses[0].failure
    assert isinstance(failure, HttpFailure)
    assert failure.body == b"<p>"


def test_a_failed_event_takes_a_message_and_a_place() -> None:
    failure = {"name": "failed_server_error", "message": "boom", "after_deltas": 2}
    response = parse_script({"failure": failure}).responses[0]
    assert response.failure == FailedEvent("server_error", "boom")
    assert response.after_deltas == 2


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ([], "script: at least one"),
        ("x", "script[0]: expected an object"),
        ({"delay": 1}, "script[0]: unknown field 'delay'"),
        ({"delay_ms": "1"}, "script[0].delay_ms: expected int or float"),
        ({"delay_ms": True}, "script[0].delay_ms: expected int or float"),
        ({"delay_ms": -1}, "script[0].delay_ms: must be at least 0"),
        ({"items": [{"deltas": []}]}, "script[0].items[0].type: is required"),
        ({"items": ["x"]}, "script[0].items[0].type: is required"),
        ({"items": [{"type": "message", "delta": []}]}, "items[0]: unknown field 'delta'"),
        ({"items": [{"type": "message", "deltas": [1]}]}, "deltas: expected a list of strings"),
        ({"items": [{"type": "function_call"}]}, "items[0].name: is required"),
        ({"items": [{"type": "message", "text": "a", "chunk": 0}]}, "chunk: must be at least 1"),
        ({"status": "done"}, "script[0].status: expected one of completed"),
        ({"hold": "x"}, "script[0].hold: expected one of"),
        ({"hold": []}, "script[0].hold: expected one of"),
        ({"usage": {"tokens": 1}}, "script[0].usage: unknown field 'tokens'"),
        ({"headers": {"a": 1}}, "script[0].headers: expected strings"),
        ({"from_request": 1}, "script[0].from_request: expected bool"),
        (
            {"from_request": True, "items": [{"type": "message"}]},
            "script[0].from_request: excludes items",
        ),
        ({"failure": "nope"}, "script[0].failure.name: expected one of bad_request"),
        ({"failure": {"name": "server_error", "after_deltas": 1}}, "unknown field 'after_deltas'"),
        ({"failure": {"name": "rate_limited", "status": 200}}, "status: must be at least 400"),
        ({"failure": {"name": "rate_limited", "headers": {"a": 1}}}, "headers: expected strings"),
        ({"failure": {"name": "hang_before_headers", "after_deltas": 1}}, "unknown field"),
    ],
)
def test_a_mistake_is_refused_by_its_place(raw: Any, place: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(raw)
    assert place in str(caught.value)
