"""Readers of a stream as clients have them, each from the bytes of a body to the messages in it.

Every one of them is stricter, or simpler, than the standard in its own way. They share no code, and none forgives.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import requests

MAX_LINE = 64 * 1024
"""Longest line of many readers, among them Go's `bufio.Scanner` as it is by itself."""

DONE = "[DONE]"


class Stream(NamedTuple):
    """A stream as it came, unchunked."""

    body: bytes
    headers: dict[str, str]


Reader = Callable[[Stream], list[Any]]
"""Returns the messages before the last one, read as JSON."""


def standard(stream: Stream) -> list[Any]:
    """WHATWG HTML, section 9.2.6: event stream interpretation."""
    messages: list[str] = []
    data: list[str] = []
    for line in re.split("\r\n|\n|\r", stream.body.decode().removeprefix("\ufeff")):
        field, _, value = line.partition(":")
        if not line:
            if data:
                messages.append("\n".join(data))
            data = []
        elif field == "data":
            data.append(value.removeprefix(" "))
    assert not data, "an event without an empty line at its end is thrown away"
    return before_the_last(messages)


def lines_of_requests(stream: Stream) -> list[Any]:
    """`requests`: the charset of the header, and lines by `str.splitlines`, from pieces of any size."""
    response = requests.Response()
    response.raw = io.BytesIO(stream.body)
    response.headers.update(stream.headers)
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    lines = response.iter_lines(chunk_size=7, decode_unicode=True)
    return before_the_last([line.removeprefix("data: ") for line in lines if line])


def any_line_is_data(stream: Stream) -> list[Any]:
    """A reader that knows neither comments nor fields: what is no empty line begins with `data: `."""
    return before_the_last(
        [line[len("data: ") :] for line in stream.body.decode().splitlines() if line]
    )


def cut_at_empty_lines(stream: Stream) -> list[Any]:
    """A reader for which a block is one `data` line, and that drops whatever is not."""
    blocks = stream.body.split(b"\n\n")
    assert blocks.pop() == b"", "a block without an end is never read"
    return before_the_last(
        [
            block[6:].decode()
            for block in blocks
            if block.startswith(b"data: ") and b"\n" not in block
        ]
    )


def any_event_is_json(stream: Stream) -> list[Any]:
    """A reader that takes every empty line for the end of an event, also of one without data, and bounds its lines."""
    messages, data = [], b""
    for line in stream.body.removesuffix(b"\n").split(b"\n"):
        assert len(line) <= MAX_LINE, "token too long"
        if line.startswith(b"data:"):
            data += line.removeprefix(b"data:").removeprefix(b" ")
        elif not line:
            messages.append(data.decode())
            data = b""
    return before_the_last(messages)


READERS: tuple[Reader, ...] = (
    standard,
    lines_of_requests,
    any_line_is_data,
    cut_at_empty_lines,
    any_event_is_json,
)


def before_the_last(messages: list[str]) -> list[Any]:
    assert messages.index(DONE) == len(messages) - 1
    return [json.loads(message) for message in messages[:-1]]


# What the messages add up to


def add_up(messages: list[Any]) -> dict[str, Any]:
    """Return choices, usage and error of an answer, as a client would that believes every member."""
    answer: dict[str, Any] = {"choices": {}, "usage": None, "error": None}
    for message in messages:
        if "error" in message:
            answer["error"] = message["error"]["code"]
            continue
        answer["usage"] = message.get("usage")
        for choice in message["choices"]:
            add_choice(answer["choices"], choice)
    return answer


def add_choice(choices: dict[int, dict[str, Any]], part: dict[str, Any]) -> None:
    delta = part["delta"] if "delta" in part else {"content": part["text"]}
    choice = choices.setdefault(part["index"], {"calls": {}})
    assert not choice.get("finish_reason"), "nothing comes after the finish"
    choice["finish_reason"] = part["finish_reason"]  # the last one, also where it is null
    for name, text in texts_of(delta):
        choice[name] = choice.get(name, "") + text
    for call in delta.get("tool_calls", ()):
        own = choice["calls"].setdefault(call["index"], {"arguments": ""})
        own.update({name: call[name] for name in ("id", "type") if name in call})
        add_function(own, call["function"])
    if "function_call" in delta:
        add_function(choice["calls"].setdefault(0, {"arguments": ""}), delta["function_call"])


def texts_of(delta: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("role", "content", "reasoning_content", "refusal"):
        if delta.get(name) is not None:
            yield name, delta[name]


def add_function(call: dict[str, Any], function: dict[str, str]) -> None:
    call["arguments"] += function["arguments"]
    if "name" in function:
        assert "name" not in call
        call["name"] = function["name"]
