"""Input items as the API lists them: with ids, and with the members that OpenAI fills in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import orjson

from app.api.input_items import referred
from app.backend.request import Item
from app.errors import InvalidRequest

_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "message": "msg",
        "function_call": "fc",
        "function_call_output": "fco",
        "custom_tool_call": "ctc",
        "custom_tool_call_output": "ctco",
        "reasoning": "rs",
        "compaction": "cmp",
    }
)
_WITH_STATUS = frozenset({"message", "function_call", "function_call_output"})


def with_ids(
    items: Sequence[Item], seed: str, references: Mapping[str, Item]
) -> list[dict[str, Any]]:
    """Return the items of a request as they are kept: each with its type and an id, references replaced by their items.

    `seed` is what ids are made of.
    """
    kept: list[dict[str, Any]] = []
    for place, item in enumerate(items):
        given = references.get(referred(item) or "", item)
        kind = given.get("type") or "message"
        named = {"id": _id(seed, place, kind)} if not given.get("id") else {}
        kept.append({"type": kind, **given, **named})
    return kept


def with_distinct_ids(items: Sequence[Item], seed: str) -> tuple[Item, ...]:
    """Return kept items, each under an id that is a text and stands there once: a page begins behind one of them."""
    seen: set[str] = set()
    found: list[Item] = []
    for place, item in enumerate(items):
        item_id = item.get("id")
        if not isinstance(item_id, str) or item_id in seen:
            item_id = _id(f"{seed}\0listed", place, item["type"])
        seen.add(item_id)
        found.append({**item, "id": item_id})
    return tuple(found)


def to_keep(items: Sequence[Item], seed: str, references: Mapping[str, Item]) -> bytes:
    """Return the items of a request as they are kept, as JSON. Raises `InvalidRequest`."""
    return joined(written(item, "input") for item in with_ids(items, seed, references))


def joined(entries: Iterable[bytes]) -> bytes:
    """Return a JSON array. Each entry is written alone: one call of C for all would leave the loop no share."""
    return b"[" + b",".join(entries) + b"]"


def written(value: Any, where: str) -> bytes:
    """Return a caller's value as JSON. Raises `InvalidRequest` where it is too deep to stand in what it is told in.

    orjson reads 1024 levels and writes 254.
    """
    try:
        return orjson.dumps([[[[value]]]])[4:-4]
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(f"Invalid '{where}': it is nested too deeply.", param=where) from error


def listed(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return kept items as a client is shown them: parts for texts, with a status and the detail of images."""
    return [_listed(item) for item in items]


def _listed(item: Item) -> dict[str, Any]:
    kind = item["type"]
    shown = {name: value for name, value in item.items() if value is not None}
    if kind in _WITH_STATUS:
        shown.setdefault("status", "completed")
    if kind == "message":
        shown["content"] = _parts(item.get("content"), item.get("role") == "assistant")
    return shown


def _parts(content: Any, is_said: bool) -> Any:  # noqa: FBT001  (one call, below its meaning)
    if isinstance(content, str):
        content = [{"type": "output_text" if is_said else "input_text", "text": content}]
    if not isinstance(content, list):
        return content
    return [_part(part) if isinstance(part, dict) else part for part in content]


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "input_image":
        return {"file_id": None, **part, "detail": part.get("detail") or "auto"}
    if part.get("type") == "output_text":
        return {"annotations": [], "logprobs": [], **part}
    return dict(part)


def _id(seed: str, place: int, kind: str) -> str:
    words = f"{seed}\0given\0{place}".encode()
    prefix = _PREFIXES.get(kind, "item")
    return f"{prefix}_{blake2b(words, digest_size=24).hexdigest()}"
