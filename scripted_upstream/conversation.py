"""What a Responses request says: the prompt, what was said before, the pictures, the results of calls. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

_BYTES_PER_TOKEN: Final = 4
_INSTRUCTING: Final = ("developer", "system")


@dataclass(frozen=True, slots=True)
class Conversation:
    """
    One request, read. Texts stand in the order in which they were said.

    `prompt` is the last user message, `told` are the user messages before it, `orders` are the
    instructions that follow everything else, `results` are the names and outputs of the calls since
    the prompt, `images` counts the pictures since then. `known_tokens` is how much of the input an
    earlier request has held: all that stands before the model's last word.
    """

    prompt: str
    told: tuple[str, ...]
    instructions: tuple[str, ...]
    orders: tuple[str, ...]
    results: tuple[tuple[str, str], ...]
    images: int
    known_tokens: int


def read(request: dict[str, Any]) -> Conversation:
    """Read a request that passed `refusals`."""
    entries = _entries(request)
    users = [place for place, entry in enumerate(entries) if entry.get("role") == "user"]
    since = users[-1] if users else 0
    heard = [place for place, entry in enumerate(entries) if not _instructs(entry)]
    after = entries[heard[-1] + 1 :] if heard else entries
    spoken = [place for place, entry in enumerate(entries) if _is_of_the_model(entry)]
    known = orjson.dumps(entries[: spoken[-1]]) if spoken else b""
    return Conversation(
        prompt=text_of(entries[since].get("content")) if users else "",
        told=tuple(text_of(entries[place].get("content")) for place in users[:-1]),
        instructions=_texts(filter(_instructs, entries)),
        orders=_texts(filter(_instructs, after)),
        results=tuple(_results(entries, since)),
        images=sum(map(_images, entries[since:])),
        known_tokens=len(known) // _BYTES_PER_TOKEN,
    )


def text_of(content: Any) -> str:
    """Return the text of a message's content, or of a call's output; its parts joined by spaces."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(part["text"] for part in parts if part.get("type") == "input_text")


def _entries(request: dict[str, Any]) -> list[dict[str, Any]]:
    given = request.get("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given or [])


def _texts(entries: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(text_of(entry.get("content")) for entry in entries)


def _instructs(entry: dict[str, Any]) -> bool:
    return entry.get("role") in _INSTRUCTING


def _is_of_the_model(entry: dict[str, Any]) -> bool:
    return entry.get("role") == "assistant" or entry.get("type") in ("function_call", "reasoning")


def _results(entries: list[dict[str, Any]], since: int) -> Iterable[tuple[str, str]]:
    names: dict[str, str] = {}
    for entry in entries[since:]:
        if entry.get("type") == "function_call":
            names[entry["call_id"]] = entry.get("name", "")
        elif entry.get("type") == "function_call_output":
            yield names.get(entry["call_id"], "The function"), text_of(entry["output"])


def _images(entry: dict[str, Any]) -> int:
    held = entry.get("output") if "output" in entry else entry.get("content")
    parts = held if isinstance(held, list) else []
    return sum(part.get("type") == "input_image" for part in parts)
