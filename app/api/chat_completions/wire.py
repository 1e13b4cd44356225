"""Chunks to `chat.completion.chunk` and `chat.completion` objects. Pure.

There is one path: the whole answer is a fold over the same chunks that a stream sends one by one.
Shapes: OpenAI API reference, "The chat completion chunk object" and "The chat completion object".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from app.answers.chunks import (
    Chunk,
    Content,
    Finish,
    Reasoning,
    Refusal,
    Role,
    Tokens,
    ToolCall,
)
from app.api.usage import render_usage


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every chunk of one answer repeats. `created` is Unix time in seconds.

    `legacy_calls` renders a call as `function_call`, for callers who sent `functions`.
    """

    id: str
    created: int
    model: str
    system_fingerprint: str
    include_usage: bool
    legacy_calls: bool = False


class ChatWire:
    """Renders the chunks of one answer."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._head = {
            "id": envelope.id,
            "object": "chat.completion.chunk",
            "created": envelope.created,
            "model": envelope.model,
            "system_fingerprint": envelope.system_fingerprint,
        }
        # The bytes around a delta's text never change within an answer, so they are made once.
        closing = b'},"logprobs":null,"finish_reason":null}]'
        closing += b',"usage":null}' if envelope.include_usage else b"}"
        self._opening = b"data: " + orjson.dumps(self._head)[:-1] + b',"choices":[{"index":'
        self._closing = closing + b"\n\n"

    # Stream

    def encode(self, chunks: Iterable[Chunk], metadata: dict[str, Any] | None) -> bytes:
        """Return one server-sent event for each chunk; `metadata` goes into the finish frames."""
        return b"".join([self._encode(chunk, metadata) for chunk in chunks])

    def _encode(self, chunk: Chunk, metadata: dict[str, Any] | None) -> bytes:
        match chunk:
            case Content(index=index, text=text):
                return self._text_frame(index, b"content", text)
            case Reasoning(index=index, text=text):
                return self._text_frame(index, b"reasoning_content", text)
            case Refusal(index=index, text=text):
                return self._text_frame(index, b"refusal", text)
            case ToolCall():
                return b"".join(self._delta(chunk.index, delta) for delta in self._call(chunk))
            case Role(index=index):
                return self._delta(index, {"role": "assistant", "content": ""})
            case Finish(index=index, reason=reason):
                choice = _choice(index, {}, self._reason(reason))
                return self._frame([choice], codex_metadata=metadata)
            case Tokens(usage=usage) if self._envelope.include_usage:
                return self._frame([], usage=render_usage(usage))
        return b""

    def _text_frame(self, index: int, member: bytes, text: str) -> bytes:
        return b'%b%d,"delta":{"%b":%b%b' % (
            self._opening,
            index,
            member,
            orjson.dumps(text),
            self._closing,
        )

    def _call(self, call: ToolCall) -> list[dict[str, Any]]:
        """Return the deltas of a call: who it is once, then its arguments."""
        if self._envelope.legacy_calls:
            return [
                {"function_call": {"name": call.name, "arguments": ""}},
                {"function_call": {"arguments": call.arguments}},
            ]
        function = {"name": call.name, "arguments": ""}
        opening = {"id": call.call_id, "type": "function", "function": function}
        return [
            {"tool_calls": [{"index": call.number, **opening}]},
            {"tool_calls": [{"index": call.number, "function": {"arguments": call.arguments}}]},
        ]

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return self._frame([_choice(index, delta, None)])

    def _frame(self, choices: list[dict[str, Any]], **members: Any) -> bytes:
        chunk = {**self._head, "choices": choices}
        if self._envelope.include_usage:
            chunk["usage"] = None
        return b"data: " + orjson.dumps(chunk | members) + b"\n\n"

    def _reason(self, reason: str) -> str:
        is_legacy = self._envelope.legacy_calls and reason == "tool_calls"
        return "function_call" if is_legacy else reason

    # Whole

    def fold(self, chunks: Iterable[Chunk], metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the whole answer that the chunks add up to."""
        messages: dict[int, _Message] = {}
        usage = None
        for chunk in chunks:
            if isinstance(chunk, Tokens):
                usage = render_usage(chunk.usage)
            else:
                messages.setdefault(chunk.index, _Message()).add(chunk)
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [
                {
                    "index": index,
                    "message": message.render(legacy_calls=self._envelope.legacy_calls),
                    "logprobs": None,
                    "finish_reason": self._reason(message.reason),
                }
                for index, message in sorted(messages.items())
            ],
            "usage": usage,
            "codex_metadata": metadata,
        }


class _Message:
    """The message that the chunks of one choice add up to."""

    def __init__(self) -> None:
        self.reason = "stop"
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._refusals: list[str] = []
        self._calls: list[ToolCall] = []

    def add(self, chunk: Chunk) -> None:
        match chunk:
            case Content(text=text):
                self._texts.append(text)
            case Reasoning(text=text):
                self._reasoning.append(text)
            case Refusal(text=text):
                self._refusals.append(text)
            case ToolCall():
                self._calls.append(chunk)
            case Finish(reason=reason):
                self.reason = reason

    def render(self, *, legacy_calls: bool) -> dict[str, Any]:
        said_nothing = not self._texts and bool(self._calls or self._refusals)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if said_nothing else "".join(self._texts),
            "refusal": "".join(self._refusals) or None,
            "annotations": [],
        }
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._calls and legacy_calls:
            message["function_call"] = _function(self._calls[0])
        elif self._calls:
            message["tool_calls"] = [
                {"id": call.call_id, "type": "function", "function": _function(call)}
                for call in self._calls
            ]
        return message


def _function(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "arguments": call.arguments}


def _choice(index: int, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
