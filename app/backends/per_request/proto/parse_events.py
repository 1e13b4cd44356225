"""Events of `codex proto`, parsed into those of a turn. Pure.

0.42 tells neither of items nor of ids: a message is the text since the one before it. What this gateway needs of an
item, it makes of that text. A type that is not known here is no error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import orjson

from app.backend.account import WINDOWS, AccountWindow
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
from app.backends.app_server.parse_events import MESSAGE_CHARS, ProtocolError, member

Message = Mapping[str, Any]


def parse_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return the id of the submission that an event belongs to, and its message. Raises `ProtocolError`."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ProtocolError("a line", "JSON") from None
    return member(event, "id", str, "an event"), member(event, "msg", dict, "an event")


def parse_session(message: Message) -> str:
    """Return the id of the session that `session_configured` tells of. Raises `ProtocolError`."""
    return member(message, "session_id", str, "session_configured")


class TurnEvents:
    """Events of one turn. `stem` is the beginning of its items' ids."""

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._messages = self._thoughts = 0
        self._is_thinking = False
        self._total: Usage | None = None
        self._parsers: Mapping[str, Callable[[Message], list[Event]]] = MappingProxyType(
            {
                "agent_message_delta": self._on_text,
                "agent_message": self._on_message,
                "agent_reasoning_delta": self._on_thought,
                "agent_reasoning": self._on_whole_thought,
                "agent_reasoning_section_break": self._on_section,
                "agent_reasoning_raw_content_delta": self._on_raw_thought,
                "token_count": self._on_tokens,
                "stream_error": lambda message: [Retrying(failure(_said(message)))],
                "error": lambda message: [
                    TurnEnded(TurnStatus.FAILED, failure(_said(message))),
                ],
                "exec_approval_request": _denied,
                "apply_patch_approval_request": _denied,
                "turn_aborted": lambda _: [TurnEnded(TurnStatus.INTERRUPTED)],
                "task_complete": lambda _: [TurnEnded(TurnStatus.COMPLETED)],
            }
        )

    def parse(self, message: Message) -> list[Event]:
        """Return what a message says of the turn. Raises `ProtocolError`."""
        parser = self._parsers.get(str(message.get("type")))
        return [] if parser is None else parser(message)

    # Messages

    @property
    def _item_id(self) -> str:
        return f"msg_{self._stem}_{self._messages}"

    def _on_text(self, message: Message) -> list[Event]:
        return [TextDelta(self._item_id, member(message, "delta", str, "agent_message_delta"))]

    def _on_message(self, message: Message) -> list[Event]:
        text = member(message, "message", str, "agent_message")
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"type": "message", "id": self._item_id, "role": "assistant", "content": [part]}
        self._messages += 1
        return [RawItem({**item, "status": "completed"})]

    # Reasoning

    def _thought(self, text: str, *, is_summary: bool = True) -> list[Event]:
        return [ReasoningDelta(text, str(self._thoughts), is_summary=is_summary)]

    def _on_thought(self, message: Message) -> list[Event]:
        self._is_thinking = True
        return self._thought(member(message, "delta", str, "agent_reasoning_delta"))

    def _on_raw_thought(self, message: Message) -> list[Event]:
        delta = member(message, "delta", str, "agent_reasoning_raw_content_delta")
        return self._thought(delta, is_summary=False)

    def _on_section(self, _: Message) -> list[Event]:
        self._thoughts += 1
        return []

    def _on_whole_thought(self, message: Message) -> list[Event]:
        """Take a whole paragraph, which the pieces have told already, where there were any."""
        if self._is_thinking:
            return []
        self._thoughts += 1
        return self._thought(member(message, "text", str, "agent_reasoning"))

    # Usage, ends

    def _on_tokens(self, message: Message) -> list[Event]:
        """Take the tokens so far. The same ones come again with each news of the account's limits."""
        info = message.get("info")
        if info is None:
            return []
        total = _usage(member(info, "total_token_usage", dict, "token_count"))
        if total == self._total:
            return []
        self._total = total
        self._is_thinking = False
        self._thoughts += 1
        last = _usage(member(info, "last_token_usage", dict, "token_count"))
        return [UsageUpdated(total), ResponseCompleted(last)]


def _denied(_: Message) -> list[Event]:
    """End a turn that asks for leave to do something: nobody answers, and it would wait for ever."""
    return [TurnEnded(TurnStatus.FAILED, TurnFailure("", "tooManyDenials"))]


def _said(message: Message) -> str:
    said = message.get("message")
    return said[:MESSAGE_CHARS] if isinstance(said, str) else ""


_TOKENS = (
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)


def _usage(raw: Message) -> Usage:
    return Usage(*(member(raw, name, int, "token_count") for name in _TOKENS))


_REFUSED = re.compile(r"^unexpected status (\d{3})\b[^:]*: ?")
_GAVE_UP = re.compile(r"^exceeded retry limit, last status: (\d{3})\b")
_BAD_REQUEST = 400

_KINDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^You've hit your usage limit|^Quota exceeded"), "usageLimitExceeded"),
    (re.compile(r"^To use Codex with your ChatGPT plan"), "usageLimitExceeded"),
    (re.compile(r"^We're currently experiencing high demand"), "internalServerError"),
    (re.compile(r"^Codex ran out of room"), "contextWindowExceeded"),
)
"""By a sentence of 0.42's own: the name that later versions have for it."""


def failure(said: str) -> TurnFailure:
    """Return the reason that a sentence of 0.42 gives, in the words of later versions."""
    if found := _REFUSED.search(said):
        status = int(found[1])
        if status == _BAD_REQUEST:
            return TurnFailure(said[found.end() :])  # the body alone, as later versions hand it on
        return TurnFailure(said, http_status=status)
    if found := _GAVE_UP.search(said):
        return TurnFailure(said, "responseTooManyFailedAttempts", int(found[1]))
    kind = next((kind for pattern, kind in _KINDS if pattern.search(said)), "other")
    return TurnFailure(said, kind)


def parse_windows(message: Message, now: float) -> dict[str, AccountWindow]:
    """Return the windows of the account's limits in a `token_count`; what is not known is left out."""
    limits = message.get("rate_limits")
    found = {name: limits.get(name) for name in WINDOWS} if isinstance(limits, Mapping) else {}
    windows: dict[str, AccountWindow] = {}
    for name, raw in found.items():
        used = raw.get("used_percent") if isinstance(raw, Mapping) else None
        if not isinstance(raw, Mapping) or not isinstance(used, int | float):
            continue
        minutes, resets_in = raw.get("window_minutes"), raw.get("resets_in_seconds")
        windows[name] = AccountWindow(
            round(used),
            minutes if isinstance(minutes, int) else None,
            int(now) + resets_in if isinstance(resets_in, int) else None,
        )
    return windows
