"""Simple answers, made from the request alone: a tool call, a filled schema, or the greeting. Pure.

For clients whose prompts no script foresees: a script says `"from_request": true`. A tool is called where the request
demands it, or where the prompt has a word of the tool's name in it; its result is repeated. Calls and JSON answers
hold the simplest values that their schemas allow.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from scripted_upstream.default_answer import demo_response, last_user_text, pieces
from scripted_upstream.schema_filler import fill
from scripted_upstream.script import FunctionCall, Item, Message

Filler: TypeAlias = Callable[[dict[str, Any]], Any]

_SHORTEST_WORD = 4
_INSTRUCTING = ("developer", "system")
_MUST_CALL = "must call"
_ONLY_JSON = "JSON object"


def simple_items(request: dict[str, Any], filler: Filler = fill) -> tuple[Item, ...]:
    """Return output items for a request that passed `refusals`; `filler` makes the values of schemas."""
    *thoughts, greeting = demo_response(request).items
    return (*thoughts, _call(request, filler) or _words(request, filler) or greeting)


def _call(request: dict[str, Any], filler: Filler) -> FunctionCall | None:
    tools = [tool for tool in request.get("tools") or () if tool.get("type") == "function"]
    choice = request.get("tool_choice")
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
    if not tools or choice == "none":
        return None
    orders = _orders(request)
    prompt = last_user_text(request).lower()
    named = [tool for tool in tools if tool["name"] in orders] or [
        tool for tool in tools if _is_named(tool["name"].lower(), prompt)
    ]
    is_forced = choice == "required" or isinstance(choice, dict) or _MUST_CALL in orders
    if not is_forced and (not named or _results(request)):
        return None
    tool = (named or tools)[0]
    return FunctionCall(tool["name"], _json(filler(tool.get("parameters") or {"type": "object"})))


def _is_named(name: str, prompt: str) -> bool:
    words = (word for word in name.split("_") if len(word) >= _SHORTEST_WORD)
    return name in prompt or any(re.search(rf"\b{re.escape(word)}\b", prompt) for word in words)


def _words(request: dict[str, Any], filler: Filler) -> Message | None:
    schema = _wanted_schema(request)
    if schema is not None:
        return Message(pieces(_json(filler(schema))))
    results = _results(request)
    return Message(pieces(" ".join(results))) if results else None


def _wanted_schema(request: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the answer, if it has to be JSON: a strict one, or one that an instruction holds."""
    wanted = (request.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        schema: dict[str, Any] = wanted["schema"]
        return schema
    orders = _orders(request)
    if _ONLY_JSON not in orders:
        return None
    found = None
    with suppress(ValueError):
        found, _ = json.JSONDecoder().raw_decode(orders, orders.index("{"))
    return found if isinstance(found, dict) else {"type": "object"}


def _orders(request: dict[str, Any]) -> str:
    """The instructions that follow everything else, on one line."""
    texts: list[str] = []
    for entry in reversed(_entries(request)):
        if entry.get("role") not in _INSTRUCTING:
            break
        texts.insert(0, _text(entry.get("content")))
    return " ".join(texts)


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
            results.append(f"{name} answered: {_text(entry['output'])}")
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
