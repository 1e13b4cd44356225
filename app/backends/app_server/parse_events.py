"""Notifications of the child parsed into events. Pure.

`PARSERS` is the table from notification method to event. A method that is not in it is no error: codex adds some with
every version. Field names follow the schema that the pinned binary generates (`codex app-server generate-json-schema`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NewType, TypeVar

from app.backend.events import (
    Event,
    MessageBegan,
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
    thread_id = member(params, "threadId", str, method)
    event = parser(params, method)
    if event is None:
        return None
    # turn/completed carries its id inside `turn`; the usage notification, beside the thread's.
    turn_id = (
        member(params, "turnId", str, method)
        if "turnId" in params
        else member(member(params, "turn", dict, method), "id", str, method)
    )
    return Addressed(ThreadId(thread_id), TurnId(turn_id), event)


def _text_delta(params: dict[str, Any], where: str) -> TextDelta:
    return TextDelta(member(params, "itemId", str, where), member(params, "delta", str, where))


def _message_began(params: dict[str, Any], where: str) -> MessageBegan | None:
    item = member(params, "item", dict, where)
    if (
        item.get("type") != "agentMessage"
    ):  # others begin with their first delta, or are only told of whole
        return None
    phase = item.get("phase")
    return MessageBegan(member(item, "id", str, where), phase if isinstance(phase, str) else None)


def _reasoning_delta(index: str) -> Callable[[dict[str, Any], str], ReasoningDelta]:
    def parse(params: dict[str, Any], where: str) -> ReasoningDelta:
        part = f"{params.get('itemId')}/{index}/{params.get(index)}"
        return ReasoningDelta(member(params, "delta", str, where), part)

    return parse


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
    return Retrying(parse_failure(member(params, "error", dict, where)))


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
        "item/reasoning/summaryTextDelta": _reasoning_delta("summaryIndex"),
        "item/reasoning/textDelta": _reasoning_delta("contentIndex"),
        "item/started": _message_began,
        "thread/tokenUsage/updated": _usage_updated,
        "rawResponse/completed": _response_completed,
        "rawResponseItem/completed": _raw_item,
        "turn/completed": _turn_ended,
    }
)


def parse_failure(error: dict[str, Any]) -> TurnFailure:
    """Read a `TurnError`. `codexErrorInfo` is a bare name, or an object with one name and maybe an HTTP status."""
    message = error.get("message")
    text = message if isinstance(message, str) else ""
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
)


def _usage(raw: dict[str, Any], where: str) -> Usage:
    return Usage(*(member(raw, name, int, where) for name in _USAGE_FIELDS))


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
