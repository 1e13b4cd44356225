"""Description of the Responses API for the OpenAPI document: what becomes of each field, and what is answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.api.described_body import described_body
from app.api.described_objects import CODEX_METADATA
from app.api.responses.compact import READ
from app.api.responses.schemas import FIELDS
from app.errors import AnswerNotFound, MethodNotSupported, OriginNotAllowed, StoreFailed
from app.http.json_schema import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    Schema,
    array,
    component,
    constant,
    of,
    or_null,
    record,
    told,
    words,
)
from app.http.operation import Body, Content, Operation, answer, answer_or_events

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "model": "A name from `GET /v1/models`, or one with an effort behind it (`gpt-5.5-high`).",
        "input": "A text, or items: messages, calls and their results, reasoning, references to kept items.",
        "instructions": "A developer message before all others, not kept for the next response.",
        "background": "True: it goes on without the client, and is asked for by its id. Needs `store`.",
        "previous_response_id": "The conversation goes on behind that response.",
        "store": "False: the response is not kept. True where nothing is said.",
        "stream": "True for server-sent events. The last one has the whole response.",
        "stream_options": "Only with `stream`.",
        "reasoning": "`effort`, and `summary`: `auto`, `concise` or `detailed` shows summaries.",
        "text": "`format`: `text`, `json_object` or a `json_schema`; `verbosity`.",
        "include": "`reasoning.encrypted_content` shows it; the others have nothing to show here.",
        "metadata": "Up to 16 texts of 512 characters under names of 64, repeated in the response.",
        "service_tier": "`flex` and `priority` are passed on, `fast` as `priority`; the others have no effect.",
        "max_output_tokens": "The text is cut at so many tokens, never too early.",
        "parallel_tool_calls": "False ends the answer with the first call.",
        "tools": "Functions, custom tools and namespaces of both, which the client runs.",
        "tool_choice": "`none`, `auto`, `required`, a tool by its name, or `allowed_tools`.",
        "prompt_cache_key": "A name of the conversation, repeated.",
        "safety_identifier": "A name of the caller, repeated.",
        "user": "A name of the caller, repeated.",
        "temperature": "Checked and repeated, without effect here.",
        "top_p": "Checked and repeated, without effect here.",
        "presence_penalty": "Checked and repeated, without effect here.",
        "frequency_penalty": "Checked and repeated, without effect here.",
    }
)

BODY = described_body(
    "ResponseRequest", FIELDS, MEANINGS, needs_one_of=("input", "previous_response_id")
)

COMPACTED_BODY = Body(
    "CompactionRequest",
    {name: schema for name, schema in BODY.properties.items() if name in READ},
    needs_one_of=BODY.needs_one_of,
    needs_model=True,
)

_ITEM = told(
    record({"id": STRING, "type": STRING}) | {"additionalProperties": True},
    "`message`, `reasoning`, `function_call` or `custom_tool_call`, with the members that OpenAI's has.",
)

_USAGE = record(
    {
        "input_tokens": INTEGER,
        "input_tokens_details": record({"cached_tokens": INTEGER, "cache_write_tokens": INTEGER}),
        "output_tokens": INTEGER,
        "output_tokens_details": record({"reasoning_tokens": INTEGER}),
        "total_tokens": INTEGER,
    }
)

RESPONSE: Schema = record(
    {
        "id": STRING,
        "object": constant("response"),
        "created_at": INTEGER,
        "completed_at": or_null(INTEGER),
        "status": words("queued", "in_progress", "completed", "incomplete", "failed", "cancelled"),
        "background": BOOLEAN,
        "error": or_null(record({"code": STRING, "message": STRING})),
        "incomplete_details": or_null(
            record({"reason": words("max_output_tokens", "content_filter")})
        ),
        "instructions": or_null(STRING),
        "previous_response_id": or_null(STRING),
        "model": STRING,
        "output": array(_ITEM),
        "usage": or_null(_USAGE),
        "tools": array(OBJECT),
        "tool_choice": of(STRING, OBJECT),
        "parallel_tool_calls": BOOLEAN,
        "text": record({"format": OBJECT, "verbosity": STRING}),
        "reasoning": record({"effort": or_null(STRING), "summary": or_null(STRING)}),
        "metadata": OBJECT,
        "store": BOOLEAN,
        "truncation": constant("disabled"),
        "temperature": NUMBER,
        "top_p": NUMBER,
        "top_logprobs": INTEGER,
        "presence_penalty": NUMBER,
        "frequency_penalty": NUMBER,
        "max_output_tokens": or_null(INTEGER),
        "max_tool_calls": or_null(INTEGER),
        "service_tier": STRING,
        "prompt_cache_key": or_null(STRING),
        "prompt_cache_retention": {"type": "null"},
        "safety_identifier": or_null(STRING),
        "user": or_null(STRING),
        "codex_metadata": told(
            of(CODEX_METADATA, component("Error")),
            "What ran, once the response is complete; why there is none, where it has failed.",
        ),
    },
    optional=("codex_metadata",),
)

EVENT: Schema = told(
    record({"type": STRING, "sequence_number": INTEGER}) | {"additionalProperties": True},
    "A typed event, numbered from 0: `response.created` to `response.completed`, `response.incomplete` or "
    "`response.failed`, which has the whole response.",
)

COMPACTION: Schema = record(
    {
        "id": STRING,
        "object": constant("response.compaction"),
        "created_at": INTEGER,
        "output": array(
            told(
                record({"id": STRING, "type": STRING}) | {"additionalProperties": True},
                "The caller's messages, and one `compaction` with a summary of the rest.",
            )
        ),
        "usage": or_null(_USAGE),
        "codex_metadata": CODEX_METADATA,
    }
)

_ID = {"response_id": told(STRING, "The `id` of a response that was kept.")}
_KEPT = (AnswerNotFound, StoreFailed)

_BOTH = answer_or_events(Content(RESPONSE, "Response"), EVENT, "ResponseEvent")

CREATE = Operation(body=BODY, answers=_BOTH, asks_model=True, errors=(StoreFailed,))

CONNECT = Operation(answers={101: ()}, errors=(OriginNotAllowed, MethodNotSupported))

RETRIEVE = Operation(
    answers=_BOTH,
    query={
        "stream": told(BOOLEAN, "True: its events, each part's text in one piece."),
        "starting_after": told(INTEGER | {"minimum": 0}, "Only the events behind that number."),
    },
    variables=_ID,
    errors=_KEPT,
)

CANCEL = Operation(answers=answer(RESPONSE, "Response"), variables=_ID, errors=_KEPT)

COMPACT = Operation(
    body=COMPACTED_BODY,
    answers=answer(COMPACTION, "Compaction"),
    asks_model=True,
    errors=(StoreFailed,),
)

DELETE = Operation(
    answers=answer(
        record({"id": STRING, "object": constant("response"), "deleted": constant(True)}),
        "DeletedResponse",
    ),
    variables=_ID,
    errors=_KEPT,
)

INPUT_ITEMS = Operation(
    answers=answer(
        record(
            {
                "object": constant("list"),
                "data": array(ANY),
                "first_id": or_null(STRING),
                "last_id": or_null(STRING),
                "has_more": BOOLEAN,
            }
        ),
        "InputItems",
    ),
    query={
        "limit": INTEGER | {"minimum": 1, "maximum": 100, "default": 20},
        "order": words("asc", "desc") | {"default": "desc"},
        "after": told(STRING, "The id of an item: those behind it."),
    },
    variables=_ID,
    errors=_KEPT,
)
