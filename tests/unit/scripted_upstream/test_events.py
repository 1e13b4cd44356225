import json
from typing import Any

import pytest

from scripted_upstream.events import FIRST_ITEM_EVENT, NONCE, render_items
from scripted_upstream.script import FunctionCall, Item, Message, RawItem, Reasoning, Response

MESSAGE = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]


def events(*items: Item, **settings: Any) -> list[dict[str, Any]]:
    parsed = []
    for frame in render_items(Response(items=items, **settings)).frames:
        name, data, *rest = frame.data.decode().split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert rest == ["", ""]
        assert frame.is_delta == event["type"].endswith(".delta")
        parsed.append(event)
    return parsed


@pytest.mark.parametrize(
    ("item", "kinds"),
    [
        (Message(("a", "b")), MESSAGE),
        (
            Message((), "no"),
            [
                "response.output_item.added",
                "response.content_part.added",
                "response.refusal.delta",
                "response.refusal.done",
                "response.content_part.done",
                "response.output_item.done",
            ],
        ),
        (
            Reasoning(("s",), ("t",), "e"),
            [
                "response.output_item.added",
                "response.reasoning_summary_part.added",
                "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done",
                "response.reasoning_summary_part.done",
                "response.reasoning_text.delta",
                "response.reasoning_text.done",
                "response.output_item.done",
            ],
        ),
        (
            FunctionCall("f", '{"a":1}', "c", 2),
            [
                "response.output_item.added",
                "response.function_call_arguments.delta",
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
                "response.output_item.done",
            ],
        ),
        (
            RawItem(b'{"type":"web_search_call"}'),
            ["response.output_item.added", "response.output_item.done"],
        ),
    ],
)
def test_an_item_becomes_openai_s_sequence(item: Item, kinds: list[str]) -> None:
    assert [event["type"] for event in events(item)] == kinds


def test_events_are_numbered_without_a_gap() -> None:
    found = events(Reasoning(("s",)), Message(("a", "b")), FunctionCall("f", "{}"))
    numbers = [event["sequence_number"] for event in found]
    assert numbers == list(range(FIRST_ITEM_EVENT, FIRST_ITEM_EVENT + len(found)))


def test_text_is_whole_in_deltas_done_and_item() -> None:
    deltas = ("Grü", "ße \n", '"✓"', "\0")
    found = events(Message(deltas))
    assert tuple(event["delta"] for event in found if "delta" in event) == deltas
    assert found[-3]["text"] == "".join(deltas)
    assert found[-1]["item"]["content"][0]["text"] == "".join(deltas)
    assert {event["item_id"] for event in found[1:-1]} == {found[-1]["item"]["id"]}


def test_a_refusal_follows_the_text_as_a_part_of_its_own() -> None:
    found = events(Message(("a",), "no"))
    assert found[-1]["item"]["content"] == [
        {"type": "output_text", "text": "a", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ]
    assert [event["content_index"] for event in found[1:-1]] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_arguments_are_verbatim_even_when_they_are_no_json() -> None:
    found = events(FunctionCall("f", "{oops", "c", 2))
    assert "".join(event["delta"] for event in found if "delta" in event) == "{oops"
    assert found[-1]["item"]["arguments"] == "{oops"
    assert found[-1]["item"]["call_id"] == "c"


def test_a_call_without_an_id_gets_a_new_one_in_each_response() -> None:
    assert NONCE in events(FunctionCall("f", "{}"))[-1]["item"]["call_id"]


def test_a_raw_item_keeps_its_own_id() -> None:
    assert events(RawItem(b'{"type":"x","id":"mine"}'))[-1]["item"]["id"] == "mine"


def test_the_last_item_of_an_incomplete_response_is_incomplete() -> None:
    found = events(Message(("a",)), Message(("b",)), incomplete="max_output_tokens")
    done = [event for event in found if event["type"] == "response.output_item.done"]
    assert [event["item"]["status"] for event in done] == ["completed", "incomplete"]


def test_deltas_are_counted_by_kind() -> None:
    rendered = render_items(Response(items=(Reasoning(("a",), ("b",)), Message(("c", "d", "e")))))
    assert (rendered.reasoning_deltas, rendered.text_deltas) == (2, 3)
