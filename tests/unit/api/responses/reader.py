"""A reader of events: what a client makes of them who believes the deltas, and checks whatever says it again."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def fold(events: list[Json]) -> list[Json]:
    """The output that the events add up to, without what the last one says of it."""
    output: list[Json] = []
    for event in events:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(output)
            assert event["item"].get("status", "in_progress") == "in_progress"
            output.append(event["item"])
        elif "output_index" in event:
            assert event["output_index"] == len(output) - 1, "one item at a time"
            _add(output[-1], event, kind)
    return output


def _add(item: Json, event: Json, kind: str) -> None:
    if kind == "output_item.done":
        known_now = {name: event["item"][name] for name in _AT_THE_END if name in event["item"]}
        item |= known_now
        assert item == event["item"]
        return
    assert event["item_id"] == item["id"]
    if kind.startswith(("function_call", "custom_tool_call")):
        _add_text(item, event, "arguments" if item["type"] == "function_call" else "input")
    else:
        _add_part(item, event, kind.rpartition(".")[2])


_AT_THE_END = ("status", "encrypted_content")


def _add_part(item: Json, event: Json, what: str) -> None:
    if "summary_index" in event:
        parts, place = item["summary"], event["summary_index"]
    else:
        parts, place = item.setdefault("content", []), event["content_index"]
    if what == "added":
        parts.append(event["part"])
    assert place == len(parts) - 1, "one part at a time"
    if "part" in event:
        assert event["part"] == parts[-1]
    else:
        _add_text(parts[-1], event, "refusal" if parts[-1]["type"] == "refusal" else "text")


def _add_text(target: Json, event: Json, name: str) -> None:
    if "delta" in event:
        target[name] += event["delta"]
    else:
        assert event[name] == target[name]
