"""Simple answers, made from the request alone: tool calls, a filled schema, a call's result, or the greeting. Pure.

The demo's answers, and those of scripts that say `"from_request": true`. `tool_choice` says which tool is called;
calls and JSON hold the simplest values that their schemas allow. Nothing is taken from the prompt, so that no answer
passes for a model's.
"""

import json
import re
from collections.abc import Callable
from itertools import takewhile
from typing import Any, TypeAlias

from scripted_upstream.default_answer import (
    NOBODY_READ_IT,
    greeting,
    last_user_text,
    message,
    shortened,
    thoughts,
)
from scripted_upstream.schema_filler import fill
from scripted_upstream.script import FunctionCall, Item, Message, Response
from scripted_upstream.tool_choice import chosen_tools

Filler: TypeAlias = Callable[[dict[str, Any]], Any]

PACE_MS = 25
"""Milliseconds between two pieces of the answer: about as fast as a person reads."""

_NO_TOOL_CALLED = "No tool was called: the demo calls one whose name or description shares a word with your message."
_LONGEST_MS = 4000
_MOST_OF_A_RESULT = 400
_INSTRUCTING = ("developer", "system")
_ONLY_JSON = re.compile(r"one JSON (object|value) and nothing else")
_THE_GATEWAYS = re.compile(rf"In each of your turns you must call|{_ONLY_JSON.pattern}")
_SCHEMA = re.compile(r"follow this JSON schema \([^)]*\): ")


def demo_response(request: dict[str, Any]) -> Response:
    """Return the answer to a request that passed `refusals`, at the pace of a person who reads."""
    items = simple_items(request)
    count = sum(len(item.deltas) for item in items if isinstance(item, Message))
    return Response(items=items, interval_ms=min(PACE_MS, _LONGEST_MS / max(count, 1)))


def simple_items(request: dict[str, Any], filler: Filler = fill) -> tuple[Item, ...]:
    """Return output items for a request that passed `refusals`; `filler` makes the values of schemas."""
    orders, results = _orders(request), _results(request)
    tools = [tool for tool in request.get("tools") or () if tool.get("type") == "function"]
    calls = [
        FunctionCall(tool["name"], _json(filler(tool.get("parameters") or {"type": "object"})))
        for tool in chosen_tools(
            tools,
            request.get("tool_choice"),
            orders=orders,
            prompt=last_user_text(request),
            has_results=bool(results),
        )
    ]
    if calls:
        return (*thoughts(request), *calls)
    schema = _wanted_schema(request, orders)
    if schema is not None:
        return (*thoughts(request), message(_json(filler(schema))))
    text = " ".join([*results, NOBODY_READ_IT]) if results else greeting(request)
    if tools and not results:
        text += f" {_NO_TOOL_CALLED}"
    if _ONLY_JSON.search(orders):
        text = _json({"answer": text})
    return (*thoughts(request), message(text))


def _wanted_schema(request: dict[str, Any], orders: str) -> dict[str, Any] | None:
    """The schema of the answer, if it has one: a strict one, or one that an instruction holds."""
    wanted = (request.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        schema: dict[str, Any] = wanted["schema"]
        return schema
    found = _SCHEMA.search(orders)
    if not _ONLY_JSON.search(orders) or not found:
        return None
    try:
        told, _ = json.JSONDecoder().raw_decode(orders, found.end())
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _orders(request: dict[str, Any]) -> str:
    """The gateway's instructions among those before everything else, and all that follow everything else."""
    entries = _entries(request)
    before = [_text(entry.get("content")) for entry in takewhile(_is_instruction, entries)]
    after = [_text(entry.get("content")) for entry in takewhile(_is_instruction, reversed(entries))]
    return " ".join([*filter(_THE_GATEWAYS.search, before), *reversed(after)])


def _is_instruction(entry: dict[str, Any]) -> bool:
    return entry.get("role") in _INSTRUCTING


def _results(request: dict[str, Any]) -> list[str]:
    """Return a sentence for each result of a call since the last user message."""
    names: dict[str, str] = {}
    results: list[str] = []
    for entry in _entries(request):
        if entry.get("role") == "user":
            results.clear()
        elif entry.get("type") == "function_call":
            names[entry["call_id"]] = entry.get("name", "")
        elif entry.get("type") == "function_call_output":
            name = names.get(entry["call_id"], "The function")
            told = shortened(_text(entry["output"]), _MOST_OF_A_RESULT)
            results.append(f"{name} answered: {told}")
    return results


def _entries(request: dict[str, Any]) -> list[dict[str, Any]]:
    given = request.get("input")
    return given if isinstance(given, list) else []


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if part.get("type") == "input_text")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
