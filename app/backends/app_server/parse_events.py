"""Notifications of the child parsed into events. Pure.

`PARSERS` is the table from notification method to event. A method that is not in it is no error: codex adds some with
every version. Field names follow the schema that the pinned binary generates (`codex app-server generate-json-schema`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, NewType, TypeVar

from app.backend.events import (
    MAX_TOKENS,
    Event,
    MessageBegan,
    ModelRerouted,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    Retrying,
    TextDelta,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)

ThreadId = NewType("ThreadId", str)
TurnId = NewType("TurnId", str)

T = TypeVar("T")

MODEL_CHARS = 100
"""Longest name of a model that the upstream may bring up."""


class ProtocolError(Exception):
    """The child sent something that its own schema does not allow. `field` says where."""

    def __init__(self, where: str, field: str) -> None:
        super().__init__(f"{where}: {field} is missing or has the wrong type")
        self.field = field


class Addressed(NamedTuple):
    """An event and the turn that it belongs to."""

    thread_id: ThreadId
    turn_id: TurnId
    event: Event


def parse_event(method: str, params: dict[str, Any]) -> Addressed | None:
    """Return the event, or None if this method says nothing that we use. Raises `ProtocolError`."""
    parser = PARSERS.get(method)
    if parser is None:
        return None
    thread_id: Any = member(params, "threadId", str, method)
    event = parser(params, method)
    if event is None:
        return None
    # turn/completed carries its id inside `turn`; the usage notification, beside the thread's.
    turn_id: Any = (
        member(params, "turnId", str, method)
        if "turnId" in params
        else member(member(params, "turn", dict, method), "id", str, method)
    )
    return Addressed(thread_id, turn_id, event)


_ECHO, _ECHO_WITHIN = b'"turnId":"auto-compact-', 160


def is_echo(line: bytes) -> bool:
    """Return True for a line in which codex repeats an item that a thread was given: under a turn that nobody began.

    A history comes back whole. Where an item has such words in it, their quotation marks are escaped.
    """
    return line.find(_ECHO, 0, _ECHO_WITHIN) >= 0


_ADDRESS = re.compile(
    rb'"method":"(?P<method>[a-zA-Z/]{1,64})".*?"threadId":"(?P<thread>[^"\\]{1,64})"'
    rb'(?:,"turnId":"|,"turn":\{"id":")(?P<turn>[^"\\]{1,64})"',
    re.DOTALL,
)


class Address(NamedTuple):
    """What a line is and whose, for a line that is too long to be read."""

    method: str
    thread_id: ThreadId
    turn_id: TurnId


def parse_address(head: bytes) -> Address | None:
    """Return the address that stands at the beginning of a line; None if there is none.

    A quotation mark inside of a text is escaped, so that no text can be taken for it.
    """
    found = _ADDRESS.search(head)
    if found is None:
        return None
    return Address(
        found["method"].decode(), ThreadId(found["thread"].decode()), TurnId(found["turn"].decode())
    )


def _text_delta(params: dict[str, Any], where: str) -> TextDelta:
    return TextDelta(member(params, "itemId", str, where), member(params, "delta", str, where))


def _message_began(params: dict[str, Any], where: str) -> MessageBegan | None:
    item = member(params, "item", dict, where)
    # Others begin with their first delta, or are only told of whole.
    if item.get("type") != "agentMessage":
        return None
    phase = item.get("phase")
    return MessageBegan(member(item, "id", str, where), phase if isinstance(phase, str) else None)


_SUMMARY = "summaryIndex"


def _reasoning_delta(index: str) -> Callable[[dict[str, Any], str], ReasoningDelta]:
    def parse(params: dict[str, Any], where: str) -> ReasoningDelta:
        item_id = params.get("itemId")
        part = f"{item_id}/{index}/{params.get(index)}"
        return ReasoningDelta(
            member(params, "delta", str, where),
            part,
            item_id if isinstance(item_id, str) else "",
            is_summary=index == _SUMMARY,
        )

    return parse


def _model_rerouted(params: dict[str, Any], where: str) -> ModelRerouted:
    return ModelRerouted(member(params, "toModel", str, where)[:MODEL_CHARS])


def _usage_updated(params: dict[str, Any], where: str) -> UsageUpdated:
    usage = member(params, "tokenUsage", dict, where)
    return UsageUpdated(_usage(member(usage, "total", dict, where), where))


def _response_completed(params: dict[str, Any], where: str) -> ResponseCompleted:
    usage = params.get("usage")
    return ResponseCompleted(_usage(usage, where) if isinstance(usage, dict) else None)


def _raw_item(params: dict[str, Any], where: str) -> RawItem:
    return RawItem(member(params, "item", dict, where))


def _retrying(params: dict[str, Any], where: str) -> Retrying | None:
    # Without a retry the same failure ends the turn, so this says nothing new.
    if params.get("willRetry") is not True:
        return None
    error = member(params, "error", dict, where)
    # Only here is it codex's own sentence, and the only one that says something.
    details = error.get("additionalDetails")
    said = details if isinstance(details, str) else ""
    return Retrying(replace(parse_failure(error), details=said))


def _turn_ended(params: dict[str, Any], where: str) -> TurnEnded:
    turn = member(params, "turn", dict, where)
    try:
        status = TurnStatus(turn.get("status"))
    except ValueError:
        raise ProtocolError(where, "turn.status") from None
    error = turn.get("error")
    return TurnEnded(status, parse_failure(error) if isinstance(error, dict) else None)


PARSERS: Mapping[str, Callable[[dict[str, Any], str], Event | None]] = MappingProxyType(
    {
        "error": _retrying,
        "item/agentMessage/delta": _text_delta,
        "item/reasoning/summaryTextDelta": _reasoning_delta(_SUMMARY),
        "item/reasoning/textDelta": _reasoning_delta("contentIndex"),
        "item/started": _message_began,
        "model/rerouted": _model_rerouted,
        "thread/tokenUsage/updated": _usage_updated,
        "rawResponse/completed": _response_completed,
        "rawResponseItem/completed": _raw_item,
        "turn/completed": _turn_ended,
    }
)


MESSAGE_CHARS = 64 * 1024
"""Longest message of a failure. It holds the upstream's body, which can be of any size, and is looked at with regular
expressions; one that is cut is no JSON any more."""


def parse_failure(error: dict[str, Any]) -> TurnFailure:
    """Read a `TurnError`. `codexErrorInfo` is a bare name, or an object with one name and maybe an HTTP status."""
    message = error.get("message")
    text = message[:MESSAGE_CHARS] if isinstance(message, str) else ""
    info = error.get("codexErrorInfo")
    if isinstance(info, str):
        return TurnFailure(text, info)
    if isinstance(info, dict) and info:
        kind, detail = next(iter(info.items()))
        status = detail.get("httpStatusCode") if isinstance(detail, dict) else None
        return TurnFailure(text, str(kind), status if isinstance(status, int) else None)
    return TurnFailure(text)


_USAGE_FIELDS = (
    "inputTokens",
    "cachedInputTokens",
    "outputTokens",
    "reasoningOutputTokens",
    "totalTokens",
    "cacheWriteInputTokens",
)
_CACHE_WRITES = _USAGE_FIELDS[-1]  # not in older versions


def _usage(raw: dict[str, Any], where: str) -> Usage:
    fields = _USAGE_FIELDS if _CACHE_WRITES in raw else _USAGE_FIELDS[:-1]
    figures: list[Any] = [raw.get(name) for name in fields]
    if {*map(type, figures)} != {int}:  # hardly ever
        figures = [_tokens(raw, name, where) for name in fields]
    return Usage(*figures)


def _tokens(raw: dict[str, Any], name: str, where: str) -> int:
    """Return a whole number, whatever it is: the upstream's are passed on unchecked."""
    value = raw.get(name)
    if type(value) is float:  # a fraction, or beyond 64 bits
        return int(min(max(value, -1.0), float(MAX_TOKENS)))
    return member(raw, name, int, where)


def member(parent: Any, name: str, kind: type[T], where: str) -> T:
    """Return a member of an object. Raises `ProtocolError` if it is not there, or not of exactly this type."""
    try:
        value = parent[name]
    except (KeyError, TypeError):  # not there; no object at all
        value = None
    # Not `isinstance`: a boolean is an int in Python.
    if type(value) is not kind:
        raise ProtocolError(where, name)
    return value
