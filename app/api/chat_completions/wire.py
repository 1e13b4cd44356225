"""Wire of chat completions: chunks to `chat.completion.chunk` and `chat.completion` objects. Pure.

There is one path: the whole answer is a fold over the same chunks that a stream sends one by one.
Shapes: OpenAI API reference, "The chat completion chunk object" and "The chat completion object".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from app.answers.chunks import (
    Began,
    CallArguments,
    CallBegan,
    Cause,
    Chunk,
    Cost,
    Ended,
    ReasoningText,
    Refusal,
    Restarted,
    Text,
    TextPieces,
    Working,
    in_pieces,
)
from app.answers.summary import Summary
from app.api.choices_wire import ChoicesWire, Envelope, render_usage
from app.api.tools import text_of

_ROLE = {"role": "assistant"}
_ROLES: Mapping[type[Chunk], dict[str, Any]] = MappingProxyType(
    {
        Text: {**_ROLE, "content": ""},
        TextPieces: {**_ROLE, "content": ""},
        CallBegan: {**_ROLE, "content": None},
        Refusal: {**_ROLE, "content": None},
        # Whether text will follow, nobody knows; also not where it happens to be there by now.
        ReasoningText: _ROLE,
        Working: _ROLE,
        Ended: {**_ROLE, "content": ""},  # as in the whole answer
    }
)
"""First delta of a choice, by the first chunk that tells what comes: SDKs take any string for the beginning of text."""

_MEMBERS: Mapping[type[Chunk], bytes] = MappingProxyType(
    {Text: b"content", TextPieces: b"content", ReasoningText: b"reasoning_content"}
)
"""The member of a delta that has the text."""


_FUNCTION, _CUSTOM = ("function", "arguments"), ("custom", "input")
"""Kinds of calls, each with the member that has what is called with."""


class ChatWire(ChoicesWire):
    """Rendering of one answer. `legacy_calls` renders a call as `function_call`, for callers who sent `functions`.

    `custom` has the names of custom tools, whose calls have a text in place of arguments.
    """

    __slots__ = (
        "_calls",
        "_closing",
        "_custom",
        "_is_custom",
        "_legacy_calls",
        "_opening",
        "_openings",
    )

    def __init__(
        self,
        envelope: Envelope,
        *,
        legacy_calls: bool = False,
        custom: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(envelope, "chat.completion.chunk")
        self._legacy_calls, self._custom = legacy_calls, custom
        self._is_custom = False  # the call that is told of
        # The bytes around a delta's text hardly ever change within an answer, so they are made once.
        self.name_model(envelope.model)
        self._closing = b'},"logprobs":null,"finish_reason":null}]'
        self._closing += b',"usage":null}' if envelope.include_usage else b"}"
        self._calls: Counter[int] = Counter()  # calls begun in each choice

    def name_model(self, model: str) -> None:
        """Let the objects from here on name this model."""
        super().name_model(model)
        self._opening = orjson.dumps(self._head)[:-1] + b',"choices":[{"index":'
        self._openings: dict[tuple[int, bytes], bytes] = {}

    # Stream

    def _render(
        self, chunk: Chunk, batch: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterable[bytes]:
        match chunk:
            case Text() | ReasoningText():
                texts = chunk.texts if isinstance(chunk, TextPieces) else (chunk.text,)
                return self._texts(chunk.index, _MEMBERS[type(chunk)], texts)
            case Refusal(index=index, text=text):
                return self._texts(index, b"refusal", in_pieces(text))
            case CallBegan(index=index) | CallArguments(index=index):
                return [self._object([_choice(index, part, None)]) for part in self._call(chunk)]
            case Began(index=index):
                self._open.append(index)
                return (self._object([_choice(index, _role(index, batch), None)]),)
            case Ended(index=index, cause=cause):
                self._end(index)
                choice = _choice(index, {}, self._finish_reason(cause))
                return (self._object([choice], codex_metadata=summary().metadata()),)
            case Cost(usage=usage) if self._include_usage:
                return (self._object([], usage=render_usage(usage)),)
            case Restarted(index=index):
                del self._calls[index]
        return ()

    def _silence(self, index: int) -> dict[str, Any]:
        return _choice(index, {}, None)

    def _texts(self, index: int, member: bytes, texts: Iterable[str]) -> Iterator[bytes]:
        """Yield an object for each text."""
        opening = self._openings.get((index, member))
        if opening is None:
            opening = b'%b%d,"delta":{"%b":' % (self._opening, index, member)
            self._openings[index, member] = opening
        for text in texts:
            yield opening + orjson.dumps(text) + self._closing

    def _call(self, chunk: CallBegan | CallArguments) -> Iterator[dict[str, Any]]:
        """Yield the deltas of a call: who it is once, then its arguments."""
        if isinstance(chunk, CallBegan):
            self._calls[chunk.index] += 1
            self._is_custom = chunk.name in self._custom
        kind, member = _CUSTOM if self._is_custom else _FUNCTION
        if isinstance(chunk, CallBegan):
            who = {"id": chunk.call_id, "type": kind}
            parts = [{"name": chunk.name, member: ""}]
        else:
            who, text = {}, text_of(chunk.text) if self._is_custom else chunk.text
            parts = [{member: piece} for piece in in_pieces(text)]
        number = self._calls[chunk.index] - 1
        for part in parts:
            if self._legacy_calls:
                yield {"function_call": part}
            else:
                yield {"tool_calls": [{"index": number, **who, kind: part}]}

    def _finish_reason(self, cause: Cause) -> str:
        is_legacy = self._legacy_calls and cause is Cause.CALLS
        return "function_call" if is_legacy else self.reason(cause)

    # Whole

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the whole answer that the chunks add up to."""
        messages: dict[int, _Message] = {}
        usage = None
        for chunk in chunks:
            if isinstance(chunk, Cost):
                usage = render_usage(chunk.usage)
            else:
                if chunk.index not in messages:
                    messages[chunk.index] = _Message()
                messages[chunk.index].add(chunk)
        return {
            **self._whole_head(summary),
            "object": "chat.completion",
            "choices": [
                {
                    "index": index,
                    "message": message.render(self._custom, legacy_calls=self._legacy_calls),
                    "logprobs": None,
                    "finish_reason": self._finish_reason(message.cause),
                }
                for index, message in sorted(messages.items())
            ],
            "usage": usage,
            "codex_metadata": summary.metadata(),
        }


class _Message:
    """The message that the chunks of one choice add up to."""

    def __init__(self) -> None:
        self.cause = Cause.FINISHED
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._refusals: list[str] = []
        self._calls: list[tuple[str, str, list[str]]] = []

    def add(self, chunk: Chunk) -> None:
        match chunk:
            case Text(text=text):
                self._texts.append(text)
            case ReasoningText(text=text):
                self._reasoning.append(text)
            case Refusal(text=text):
                self._refusals.append(text)
            case CallBegan(call_id=call_id, name=name):
                self._calls.append((call_id, name, []))
            case CallArguments(text=text):
                self._calls[-1][2].append(text)
            case Ended(cause=cause):
                self.cause = cause

    def render(self, custom: frozenset[str], *, legacy_calls: bool) -> dict[str, Any]:
        said_nothing = not self._texts and bool(self._calls or self._refusals)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if said_nothing else "".join(self._texts),
            "refusal": "".join(self._refusals) or None,
            "annotations": [],
        }
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        calls = [_whole_call(*call, is_custom=call[1] in custom) for call in self._calls]
        if calls and legacy_calls:
            message["function_call"] = calls[0]["function"]
        elif calls:
            message["tool_calls"] = calls
        return message


def _whole_call(
    call_id: str, name: str, pieces: Sequence[str], *, is_custom: bool
) -> dict[str, Any]:
    text = "".join(pieces)
    kind, member = _CUSTOM if is_custom else _FUNCTION
    said = {"name": name, member: text_of(text) if is_custom else text}
    return {"id": call_id, "type": kind, kind: said}


def _role(index: int, batch: Sequence[Chunk]) -> dict[str, Any]:
    """Return the first delta of a choice, as far as is known of it."""
    own = (chunk for chunk in batch if not isinstance(chunk, Cost) and chunk.index == index)
    return next((_ROLES[type(chunk)] for chunk in own if type(chunk) in _ROLES), _ROLE)


def _choice(index: int, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
