"""Chunks to events and to the response: tables, and what holds of any answer."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState

from app.answers.chunks import (
    Began,
    Cause,
    Chunk,
    Ended,
    ItemBegan,
    ItemEnded,
    ItemKind,
    ReasoningText,
    Refusal,
    Restarted,
    Text,
    Working,
    without_discarded,
)
from app.errors import (
    Draining,
    GatewayError,
    InvalidRequest,
    PromptRefused,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from tests.unit.api.responses.answers import (
    EVENTS,
    SUMMARY,
    Json,
    answer,
    any_answer,
    called,
    refused,
    rendered,
    said,
    strict,
    thought,
    unseen,
    whole,
    wire,
)
from tests.unit.api.responses.reader import fold

SEALED = {"include": ["reasoning.encrypted_content"]}


def kinds(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def sdk_output(events: list[Json]) -> list[Json]:
    """What the SDK's own accumulator has of an answer before its last event says it whole."""
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events[:-1]:
        state.handle_event(EVENTS.validate_python(event))
    snapshot = getattr(state, "_ResponseStreamState__current_snapshot")  # noqa: B009
    return [item.to_dict() for item in snapshot.output]


def spoken(output: list[Json]) -> list[Any]:
    """The texts of an output; that accumulator leaves refusals, reasoning and custom tools out."""
    return [
        (item["type"], item["id"], item.get("arguments"))
        if item["type"] != "message"
        else [part.get("text", "") for part in item["content"]]
        for item in output
    ]


# Any answer


@settings(max_examples=40, deadline=None)
@given(any_answer, unseen, st.sampled_from([{}, SEALED]), st.data())
def test_a_stream_adds_up_to_the_whole_answer(
    chunks: list[Chunk], before: list[Chunk], options: Json, data: st.DataObject
) -> None:
    chunks = [chunks[0], *before, *chunks[1:]]
    cuts = data.draw(st.sets(st.integers(1, len(chunks) - 1)))
    batches = [chunks[at:to] for at, to in pairwise([0, *sorted(cuts), len(chunks)])]
    made = wire(**options)
    events = rendered(made, batches)
    final = events[-1]["response"]
    assert final == whole(wire(**options), without_discarded(chunks))
    assert fold(events[2:-1]) == final["output"]
    ids = [item["id"] for item in final["output"]]
    assert len(set(ids)) == len(ids)
    assert kinds(events)[:2] == ["created", "in_progress"]
    assert kinds(events)[-1] == final["status"]
    assert [event["response"]["output"] for event in events[:2]] == [[], []]


@settings(max_examples=40, deadline=None)
@given(any_answer)
def test_the_sdk_adds_up_the_same(chunks: list[Chunk]) -> None:
    events = rendered(wire(), [chunks])
    assert spoken(sdk_output(events)) == spoken(events[-1]["response"]["output"])


@settings(max_examples=40, deadline=None)
@given(any_answer, st.integers(0, 40))
def test_signs_of_life_add_nothing(chunks: list[Chunk], place: int) -> None:
    made, events = wire(), []
    for index, chunk in enumerate(chunks):
        events += [parsed(it) for it in made.payloads([chunk], lambda: SUMMARY)]
        if index == min(place, len(chunks) - 2):
            events.append(parsed(made.sign_of_life()))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        strict(EVENTS, event)
    assert fold(events) == events[-1]["response"]["output"]


@settings(max_examples=40, deadline=None)
@given(any_answer)
def test_every_event_is_written_as_json_is(chunks: list[Chunk]) -> None:
    """Those of a text are put together from what they have in common, and must not differ from the others."""
    for kind, data in wire().payloads(chunks, lambda: SUMMARY):
        event = json.loads(data)
        assert data == orjson.dumps(event)
        assert list(event)[:2] == ["type", "sequence_number"]
        assert event["type"] == kind


def test_pieces_of_a_text_differ_in_their_number_and_their_words() -> None:
    events = rendered(wire(), [answer(said("a", 'b"', "\n"), said("c"))])
    pieces = [event for event in events if event["type"].endswith("output_text.delta")]
    assert [piece["delta"] for piece in pieces] == ["a", 'b"', "\n", "c"]
    places = ("type", "sequence_number", "output_index", "item_id", "content_index", "delta")
    assert {tuple(piece) for piece in pieces} == {(*places, "logprobs")}
    assert [piece["output_index"] for piece in pieces] == [0, 0, 0, 1]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def parsed(payload: tuple[str | None, bytes]) -> Json:
    event: Json = json.loads(payload[1])
    return event


# Single answers


def shown(*parts: list[Chunk], cause: Cause = Cause.FINISHED, **options: Any) -> list[Json]:
    output: list[Json] = whole(wire(**options), answer(*parts, cause=cause))["output"]
    return output


@pytest.mark.parametrize(
    ("cause", "status", "reason"),
    [
        (Cause.FINISHED, "completed", None),
        (Cause.CALLS, "completed", None),
        (Cause.STOP_SEQUENCE, "completed", None),
        (Cause.TOKEN_LIMIT, "incomplete", {"reason": "max_output_tokens"}),
        (Cause.CONTENT_FILTER, "incomplete", {"reason": "content_filter"}),
    ],
)
def test_an_end_is_a_status(cause: Cause, status: str, reason: Any) -> None:
    made = wire()
    response = whole(made, answer(thought("hm"), said("a"), cause=cause))
    assert (response["status"], response["incomplete_details"]) == (status, reason)
    assert made.reason(cause) == status
    assert response["completed_at"] == (1_700_000_002 if reason is None else None)
    assert [item.get("status") for item in response["output"]] == [None, status]
    (last,) = rendered(wire(), [answer(said("a"), cause=cause)])[-1:]
    assert last["type"] == f"response.{status}"
    assert last["response"]["output"][0]["status"] == status


def test_an_empty_answer_is_a_response_without_output() -> None:
    events = rendered(wire(), [answer()])
    assert kinds(events) == ["created", "in_progress", "completed"]
    assert events[-1]["response"]["output"] == []
    assert events[-1]["response"]["usage"]["input_tokens_details"] == {
        "cached_tokens": 40,
        "cache_write_tokens": 2,
    }


def test_a_message_without_a_word_has_no_content() -> None:
    (message,) = shown(said())
    assert message == {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [],
    }


def test_a_refusal_is_a_part_of_its_own() -> None:
    parts = [{"type": "refusal", "refusal": "No."}]
    (message,) = shown(refused("No."))
    assert message["content"] == parts
    mixed: list[Chunk] = [
        ItemBegan(0, ItemKind.MESSAGE),
        Text(0, "Well. "),
        Refusal(0, "No."),
        ItemEnded(0),
    ]
    (message,) = shown(mixed)
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    events = rendered(wire(), [answer(mixed)])
    assert [it["content_index"] for it in events if "content_index" in it] == [0] * 4 + [1] * 4


def test_messages_keep_their_phases_and_ids() -> None:
    phases = ["commentary", None, "final_answer"]
    parts = [said("a", item_id=f"msg_{n}", phase=phase) for n, phase in enumerate(phases)]
    output = shown(*parts)
    assert [item.get("phase") for item in output] == phases
    assert [item["id"] for item in output] == ["msg_0", "msg_1", "msg_2"]


def test_an_id_that_is_there_twice_or_none_of_its_kind_is_replaced() -> None:
    output = shown(said("a"), said("b"), said("c", item_id="rs_1"), said("d", item_id=""))
    ids = [item["id"] for item in output]
    assert ids[0] == "msg_1"
    assert len(set(ids)) == 4
    assert all(item_id.startswith("msg_") for item_id in ids)
    assert ids == [item["id"] for item in shown(said("a"), said("b"), said("c"), said("d"))]


def test_reasoning_has_summary_and_text_apart() -> None:
    pieces = [
        ReasoningText(0, "a", "0"),
        ReasoningText(0, "b", "0"),
        ReasoningText(0, "c", "1"),
        ReasoningText(0, "d", "1", is_summary=False),
        ReasoningText(0, "e", "2", is_summary=False),
    ]
    item: list[Chunk] = [ItemBegan(0, ItemKind.REASONING, "rs_1"), *pieces, ItemEnded(0)]
    (reasoning,) = shown(item)
    assert [part["text"] for part in reasoning["summary"]] == ["ab", "c"]
    assert [part["text"] for part in reasoning["content"]] == ["d", "e"]
    events = rendered(wire(), [answer(item)])
    deltas = [event for event in events if event["type"].endswith("delta")]
    places = [event.get("summary_index", event.get("content_index")) for event in deltas]
    assert places == [0, 0, 1, 0, 1]


@pytest.mark.parametrize("words", [[], ["hm"]])
@pytest.mark.parametrize("options", [{}, SEALED])
def test_encrypted_content_is_shown_to_who_asks(words: list[str], options: Json) -> None:
    made = wire(**options)
    sealed = thought(*words, encrypted_content="sealed")
    (reasoning,) = whole(made, answer(sealed))["output"]
    assert reasoning.get("encrypted_content") == ("sealed" if options else None)
    assert made.output.kept[0]["encrypted_content"] == "sealed"
    other = thought(*words, encrypted_content="sealed", item_id="another")
    (reasoning,) = shown(other, **options)
    assert "encrypted_content" not in reasoning, "it is good under the upstream's id only"


@pytest.mark.parametrize(
    ("name", "pieces", "expected"),
    [
        ("f", ['{"a"', ":1}"], {"type": "function_call", "name": "f", "arguments": '{"a":1}'}),
        ("f", [], {"type": "function_call", "name": "f", "arguments": ""}),
        ("made_up", ["no JSON"], {"type": "function_call", "arguments": "no JSON"}),
        ("p", ['{"input":"a\\nb"}'], {"type": "custom_tool_call", "name": "p", "input": "a\nb"}),
        ("p", ["plain"], {"type": "custom_tool_call", "input": "plain"}),
        ("p", ['{"input":5}'], {"type": "custom_tool_call", "input": '{"input":5}'}),
        ("p", ["[]"], {"type": "custom_tool_call", "input": "[]"}),
        ("n__g", ["{}"], {"type": "function_call", "name": "g", "namespace": "n"}),
        ("m__h", ["x"], {"type": "custom_tool_call", "name": "h", "namespace": "m"}),
    ],
)
def test_a_call_has_the_form_of_its_tool(name: str, pieces: list[str], expected: Json) -> None:
    (call,) = shown(called(name, *pieces), cause=Cause.CALLS)
    assert call | expected == call
    assert (call["call_id"], call["status"]) == ("call_1", "completed")
    assert call["id"].startswith("fc_" if call["type"] == "function_call" else "ctc_")


def test_calls_have_ids_of_their_own_and_long_arguments_come_in_pieces() -> None:
    text = "x" * 9_000
    events = rendered(wire(), [answer(called("f", text), called("f", "{}", call_id="call_2"))])
    first, second = events[-1]["response"]["output"]
    assert first["id"] != second["id"]
    assert first["arguments"] == text
    deltas = [event for event in events if event["type"].endswith("delta")]
    assert max(len(event["delta"]) for event in deltas) < 3_000


def test_another_model_is_named_at_the_end() -> None:
    made = wire()
    events = [parsed(it) for it in made.payloads([Began(0)], lambda: SUMMARY)]
    end = [Ended(0, Cause.FINISHED), answer()[-1]]
    rerouted = replace(SUMMARY, rerouted_to="other")
    events += [parsed(it) for it in made.payloads(end, lambda: rerouted)]
    assert [event["response"]["model"] for event in events] == ["m", "m", "other"]


def test_a_try_that_is_taken_back_leaves_nothing() -> None:
    tries = [Began(0), *said(item_id="msg_0"), *thought(item_id="rs_0"), Restarted(0)]
    events = rendered(wire(), [tries, answer(said("a"))[1:]])
    assert [item["id"] for item in events[-1]["response"]["output"]] == ["msg_1"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamError("It failed."), "server_error"),
        (Draining("Bye."), "server_error"),
        (RateLimited("Slow."), "rate_limit_exceeded"),
        (QuotaExhausted("No more."), "rate_limit_exceeded"),
        (PromptRefused("No."), "invalid_prompt"),
        (InvalidRequest("No.", code="invalid_image_format"), "invalid_image_format"),
        (InvalidRequest("No.", code="other"), "server_error"),
    ],
)
def test_a_failure_keeps_what_was_said(error: GatewayError, code: str) -> None:
    made = wire()
    batches = [[Began(0), *said("a"), ItemBegan(0, ItemKind.MESSAGE, "msg_2"), Text(0, "b")]]
    events = rendered(made, batches)
    *ends, event = (parsed(payload) for payload in made.error(error))
    for one in (*ends, event):
        strict(EVENTS, one)
    assert kinds(ends) == ["output_text.done", "content_part.done", "output_item.done"]
    assert event["sequence_number"] == len(events) + 3
    response = event["response"]
    assert (event["type"], response["status"]) == ("response.failed", "failed")
    assert response["error"] == {"code": code, "message": error.message}
    assert response["codex_metadata"] == error.to_envelope()
    whole, cut = response["output"]
    assert (whole["id"], whole["status"]) == ("msg_1", "completed")
    assert (cut["id"], cut["status"]) == ("msg_2", "incomplete")
    assert ends[-1]["item"] == cut
    assert made.end is None


def test_a_failure_tells_the_end_of_what_had_ended() -> None:
    made = wire()
    events = rendered(made, [[Began(0), *said("a")]])
    assert kinds(events)[-1] == "output_text.delta", "its status is not known before what follows"
    *ends, failed = (parsed(payload) for payload in made.error(UpstreamError("gone")))
    assert ends[-1]["item"] == failed["response"]["output"][0]
    assert ends[-1]["item"]["status"] == "completed"


def test_a_sign_of_life_repeats_nothing_long_of_the_request() -> None:
    long = "x" * 10_000
    words = dict.fromkeys(("instructions", "prompt_cache_key", "safety_identifier", "user"), long)
    made = wire(**words, metadata={"a": "b" * 500})
    rendered(made, [[Began(0)]])
    _, data = made.sign_of_life()
    strict(EVENTS, json.loads(data))
    assert len(data) < 2_000


def test_signs_of_life_are_pieces_of_nothing_where_there_is_an_open_part() -> None:
    made = wire()
    seen = []
    batches: list[list[Chunk]] = [[Began(0), Working(0)], said("a")[:2], said("a")[2:]]
    for batch in (*batches, thought("a")[:2]):
        rendered_now = [*made.payloads(batch, lambda: SUMMARY)]
        assert bool(rendered_now) == (batch != said("a")[2:])
        sign = parsed(made.sign_of_life())
        strict(EVENTS, sign)
        seen.append((sign["type"].removeprefix("response."), sign.get("delta")))
    assert seen == [
        ("in_progress", None),
        ("output_text.delta", ""),
        ("output_text.delta", ""),  # its end is told with what comes after it
        ("reasoning_summary_text.delta", ""),
    ]
    assert len(parsed(made.sign_of_life())) == 6
