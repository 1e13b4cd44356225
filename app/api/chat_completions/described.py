"""Description of chat completions for the OpenAPI document: what becomes of each field, and what is answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.api.chat_completions.schemas import FIELDS
from app.api.described_body import described_body
from app.api.described_objects import (
    CODEX_METADATA,
    EVENT_ERROR,
    FINISH_REASON,
    HEAD,
    LOGPROBS,
    TEXT_OR_NULL,
    USAGE,
)
from app.http.json_schema import (
    ANY,
    INTEGER,
    STRING,
    Schema,
    array,
    constant,
    of,
    or_null,
    record,
    words,
)
from app.http.operation import Content, Operation, answer_or_events

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "model": "A name from `GET /v1/models`, or one with an effort behind it (`gpt-5.5-high`).",
        "messages": "The conversation. Order and text are kept exactly.",
        "input": "The conversation as the Responses API has it, for editors that send it here; `messages` win.",
        "instructions": "Beside `input`: a developer message before it.",
        "max_output_tokens": "The Responses API's name of `max_completion_tokens`.",
        "text": "The Responses API's name of `response_format` and `verbosity`.",
        "stream": "True for server-sent events. The last one is `[DONE]`.",
        "stream_options": "Only with `stream`: `include_usage` adds an event with the usage.",
        "reasoning_effort": "How long the model thinks, if it supports that effort.",
        "reasoning": "`effort` is read where there is no `reasoning_effort`.",
        "service_tier": "`flex` and `priority` are passed on, `fast` as `priority`; the others have no effect.",
        "verbosity": "Passed on.",
        "n": "How many choices; each is a turn of its own.",
        "max_tokens": "The older name of `max_completion_tokens`, which wins.",
        "max_completion_tokens": "The text is cut at so many tokens, never too early.",
        "parallel_tool_calls": "False ends the answer with the first call.",
        "tools": "Functions and custom tools that the model may call; the client runs them.",
        "tool_choice": "`none`, `auto`, `required`, a tool by its name, or `allowed_tools`.",
        "functions": "The legacy form of `tools`, which win.",
        "function_call": "The legacy form of `tool_choice`.",
        "response_format": "`text`, `json_object`, or a `json_schema`.",
        "stop": "Up to 16 texts; the answer ends before the first of them.",
        "temperature": "Checked, without effect here.",
        "top_p": "Checked, without effect here.",
        "presence_penalty": "Checked, without effect here.",
        "frequency_penalty": "Checked, without effect here.",
        "seed": "Checked, without effect here.",
    }
)

BODY = described_body("ChatCompletionRequest", FIELDS, MEANINGS, needs_one_of=("messages", "input"))

_CALLED = record({"name": STRING, "arguments": STRING})
_CUSTOM = record({"name": STRING, "input": STRING})

_CALL = of(
    record({"id": STRING, "type": constant("function"), "function": _CALLED}),
    record({"id": STRING, "type": constant("custom"), "custom": _CUSTOM}),
)

_MESSAGE = record(
    {
        "role": constant("assistant"),
        "content": TEXT_OR_NULL,
        "refusal": TEXT_OR_NULL,
        "annotations": array(ANY),
        "reasoning_content": STRING,
        "tool_calls": array(_CALL),
        "function_call": _CALLED,
    },
    optional=("reasoning_content", "tool_calls", "function_call"),
)

ANSWER: Schema = record(
    {
        **HEAD,
        "object": constant("chat.completion"),
        "choices": array(
            record(
                {
                    "index": INTEGER,
                    "message": _MESSAGE,
                    "logprobs": LOGPROBS,
                    "finish_reason": FINISH_REASON,
                }
            )
        ),
        "usage": or_null(USAGE),
        "codex_metadata": CODEX_METADATA,
    }
)

_PIECE_NAMES = ("name", "arguments", "input")
_PIECE = record(dict.fromkeys(_PIECE_NAMES, STRING), optional=_PIECE_NAMES)

_CALL_DELTA = record(
    {
        "index": INTEGER,
        "id": STRING,
        "type": words("function", "custom"),
        "function": _PIECE,
        "custom": _PIECE,
    },
    optional=("id", "type", "function", "custom"),
)

_DELTA_MEMBERS: Mapping[str, Schema] = MappingProxyType(
    {
        "role": constant("assistant"),
        "content": TEXT_OR_NULL,
        "reasoning_content": STRING,
        "refusal": STRING,
        "tool_calls": array(_CALL_DELTA),
        "function_call": _PIECE,
    }
)

CHUNK: Schema = record(
    {
        **HEAD,
        "object": constant("chat.completion.chunk"),
        "choices": array(
            record(
                {
                    "index": INTEGER,
                    "delta": record(_DELTA_MEMBERS, optional=tuple(_DELTA_MEMBERS)),
                    "logprobs": LOGPROBS,
                    "finish_reason": FINISH_REASON,
                }
            )
        ),
        "usage": or_null(USAGE),
        "codex_metadata": CODEX_METADATA,
    },
    optional=("usage", "codex_metadata"),
)

CREATE = Operation(
    body=BODY,
    answers=answer_or_events(
        Content(ANSWER, "ChatCompletion"), of(CHUNK, EVENT_ERROR), "ChatCompletionEvent"
    ),
    asks_model=True,
)
