"""Notifications of the child parsed into events. Pure.

`PARSERS` is the table from notification method to event. A method that is not in it is no error: codex adds some with
every version. Field names follow the schema that the pinned binary generates (`codex app-server generate-json-schema`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NewType

from app.backend.events import (
    Event,
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


class ProtocolError(Exception):
    """The child sent something that its own schema does not allow. `field` says where."""

    def __init__(self, where: str, field: str) -> None:
        super().__init__(f"{where}: {field} is missing or has the wrong type")
        self.field = field


@dataclass(frozen=True, slots=True)
class Addressed:
    """An event and the turn that it belongs to."""

    thread_id: ThreadId
    turn_id: TurnId
    event: Event


def parse_event(method: str, params: Mapping[str, Any]) -> Addressed | None:
    """Return the event, or None if this method says nothing that we use. Raises `ProtocolError`."""
    parser = PARSERS.get(method)
    if parser is None:
        return None
    thread_id = _string(params, "threadId", method)
    event = parser(params)
    if event is None:
        return None
    # turn/completed carries its id inside `turn`; the usage notification, beside the thread's.
    turn_id = (
        _string(params, "turnId", method)
        if "turnId" in params
        else _string(_mapping(params, "turn", method), "id", method)
    )
    return Addressed(ThreadId(thread_id), TurnId(turn_id), event)


def _text_delta(params: Mapping[str, Any]) -> TextDelta:
    where = "item/agentMessage/delta"
    return TextDelta(_string(params, "itemId", where), _string(params, "delta", where))


def _reasoning_delta(params: Mapping[str, Any]) -> ReasoningDelta:
    return ReasoningDelta(_string(params, "delta", "item/reasoning"))


def _usage_updated(params: Mapping[str, Any]) -> UsageUpdated:
    where = "thread/tokenUsage/updated"
    return UsageUpdated(_usage(_mapping(_mapping(params, "tokenUsage", where), "total", where)))


def _response_completed(params: Mapping[str, Any]) -> ResponseCompleted:
    usage = params.get("usage")
    return ResponseCompleted(_usage(usage) if isinstance(usage, Mapping) else None)


def _raw_item(params: Mapping[str, Any]) -> RawItem:
    return RawItem(_mapping(params, "item", "rawResponseItem/completed"))


def _retrying(params: Mapping[str, Any]) -> Retrying | None:
    # Without a retry the same failure ends the turn, so this says nothing new.
    if params.get("willRetry") is not True:
        return None
    return Retrying(parse_failure(_mapping(params, "error", "error")))


def _turn_ended(params: Mapping[str, Any]) -> TurnEnded:
    where = "turn/completed"
    turn = _mapping(params, "turn", where)
    try:
        status = TurnStatus(turn.get("status"))
    except ValueError:
        raise ProtocolError(where, "turn.status") from None
    error = turn.get("error")
    return TurnEnded(status, parse_failure(error) if isinstance(error, Mapping) else None)


PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Event | None]] = MappingProxyType(
    {
        "error": _retrying,
        "item/agentMessage/delta": _text_delta,
        "item/reasoning/summaryTextDelta": _reasoning_delta,
        "item/reasoning/textDelta": _reasoning_delta,
        "thread/tokenUsage/updated": _usage_updated,
        "rawResponse/completed": _response_completed,
        "rawResponseItem/completed": _raw_item,
        "turn/completed": _turn_ended,
    }
)


def parse_failure(error: Mapping[str, Any]) -> TurnFailure:
    """Read a `TurnError`. `codexErrorInfo` is a bare name, or an object with one name and maybe an HTTP status."""
    message = error.get("message")
    text = message if isinstance(message, str) else ""
    info = error.get("codexErrorInfo")
    if isinstance(info, str):
        return TurnFailure(text, info)
    if isinstance(info, Mapping) and info:
        kind, detail = next(iter(info.items()))
        status = detail.get("httpStatusCode") if isinstance(detail, Mapping) else None
        return TurnFailure(text, str(kind), status if isinstance(status, int) else None)
    return TurnFailure(text)


_USAGE_FIELDS = (
    "inputTokens",
    "cachedInputTokens",
    "outputTokens",
    "reasoningOutputTokens",
    "totalTokens",
)


def _usage(raw: Mapping[str, Any]) -> Usage:
    counts = [raw.get(name) for name in _USAGE_FIELDS]
    for name, count in zip(_USAGE_FIELDS, counts, strict=True):
        if not isinstance(count, int) or isinstance(count, bool):
            raise ProtocolError("usage", name)
    return Usage(*counts)  # type: ignore[arg-type]  # each was checked above


def _string(params: Mapping[str, Any], name: str, where: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise ProtocolError(where, name)
    return value


def _mapping(params: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = params.get(name)
    if not isinstance(value, Mapping):
        raise ProtocolError(where, name)
    return value
