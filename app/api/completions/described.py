"""Description of completions for the OpenAPI document. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.api.completions.request import FIELDS
from app.api.described_body import described_body
from app.api.described_objects import (
    CODEX_METADATA,
    EVENT_ERROR,
    FINISH_REASON,
    HEAD,
    LOGPROBS,
    USAGE,
)
from app.http.json_schema import INTEGER, STRING, Schema, array, constant, of, or_null, record
from app.http.operation import Content, Operation, answer_or_events

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "model": "A name from `GET /v1/models`, or one with an effort behind it (`gpt-5.5-high`).",
        "prompt": "Each goes as one user message and is answered rather than continued.",
        "stream": "True for server-sent events. The last one is `[DONE]`.",
        "stream_options": "Only with `stream`: `include_usage` adds an event with the usage.",
        "n": "How many choices for each prompt; each is a turn of its own.",
        "max_tokens": "The text is cut at so many tokens, never too early.",
        "echo": "True: each text begins with its prompt.",
        "stop": "Up to 16 texts; the answer ends before the first of them.",
        "temperature": "Checked, without effect here.",
        "top_p": "Checked, without effect here.",
        "presence_penalty": "Checked, without effect here.",
        "frequency_penalty": "Checked, without effect here.",
        "seed": "Checked, without effect here.",
    }
)

_CHOICES = array(
    record({"index": INTEGER, "text": STRING, "logprobs": LOGPROBS, "finish_reason": FINISH_REASON})
)
_MEMBERS: Mapping[str, Schema] = MappingProxyType(
    {
        **HEAD,
        "object": constant("text_completion"),
        "choices": _CHOICES,
        "usage": or_null(USAGE),
        "codex_metadata": CODEX_METADATA,
    }
)

CREATE = Operation(
    body=described_body("CompletionRequest", FIELDS, MEANINGS, needs=("prompt",)),
    answers=answer_or_events(
        Content(record(_MEMBERS), "Completion"),
        of(record(_MEMBERS, optional=("usage", "codex_metadata")), EVENT_ERROR),
        "CompletionEvent",
    ),
    asks_model=True,
)
