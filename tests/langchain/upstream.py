"""Answers of the suite's upstream: the scripted upstream, with the values that the suite's prompts ask for.

A request gets the values that stand beside its prompt in the table below, else is answered in the simple way of
`scripted_upstream.simple_answer`.
"""

from __future__ import annotations

import re
from typing import Any

from scripted_upstream.default_answer import last_user_text
from scripted_upstream.schema_filler import fill
from scripted_upstream.script import Message, Response, Usage
from scripted_upstream.simple_answer import simple_items

VALUES: dict[str, dict[str, Any]] = {
    # LangChain's
    "magic_function(3)": {"input": 3},
    "3 + 4": {"a": 3, "b": 4},
    "weather in San Francisco": {"location": "San Francisco, CA"},
    "a Pirate greeting": {"answer_style": "pirate"},
    "你好啊集团": {"customer_name": "你好啊集团", "description": "a technology company"},
    "こんにちは株式会社": {"customer_name": "こんにちは株式会社", "description": "a company"},
    # ours
    "the word 'gateway'": {"word": "gateway"},
    "Alice is 30": {"name": "Alice", "age": 30},
    "Bob is 31": {"name": "Bob", "age": 31},
}
"""Words of a prompt, and the arguments of the call or the members of the JSON answer that it asks for."""

JOKE = '{"setup":"Who is it?","punchline":"A cat."}'
BYTES_PER_TOKEN = 4


def answer(request: dict[str, Any]) -> Response:
    prompt, sent = last_user_text(request), str(request["input"])
    if text := written(prompt, sent):
        return Response(items=(Message((text[:5], text[5:])),))
    values = next((values for words, values in VALUES.items() if words in prompt), None)
    items = simple_items(request, lambda schema: fill(schema) if values is None else values)
    return Response(items=items, usage=Usage(cached_tokens=known_tokens(request["input"])))


def written(prompt: str, sent: str) -> str | None:
    """The words that a prompt asks for, from what was really sent."""
    if "with 'setup' and 'punchline' keys" in prompt:
        return JOKE
    if "What is my name?" in prompt:
        return "The name is " + ", ".join(re.findall(r"My name is (\w+)", sent)) + "."
    pictures = sent.count("'input_image'")
    return f"I see {pictures} picture." if pictures else None


def known_tokens(entries: list[dict[str, Any]]) -> int:
    """As many as stand before the model's last word: an earlier request has held them."""
    spoken = [place for place, entry in enumerate(entries) if entry.get("role") == "assistant"]
    return len(str(entries[: spoken[-1]])) // BYTES_PER_TOKEN if spoken else 0
