"""Objects of answers for the OpenAPI document that several endpoints have. Pure."""

from __future__ import annotations

from app.http.json_schema import (
    ANY,
    BOOLEAN,
    INTEGER,
    OBJECT,
    STRING,
    Schema,
    array,
    of,
    or_null,
    record,
    told,
    words,
)

CODEX_METADATA: Schema = told(
    record(
        {
            "thread_id": STRING,
            "turn_id": or_null(STRING),
            "model": STRING,
            "requested_model": STRING,
            "effort": or_null(STRING),
            "ignored_parameters": array(STRING),
            "adjusted_parameters": OBJECT,
            "upstream": words("openai", "custom", "demo"),
            "ttft_ms": or_null(INTEGER),
            "duration_ms": INTEGER,
            "usage_estimated": BOOLEAN,
            "continued": BOOLEAN,
            "cached_tokens": or_null(INTEGER),
        },
        optional=("requested_model",),
    ),
    "This gateway's own member of an answer: what ran, and what had no effect.",
)

USAGE: Schema = record(
    {
        "prompt_tokens": INTEGER,
        "completion_tokens": INTEGER,
        "total_tokens": INTEGER,
        "prompt_tokens_details": record(
            dict.fromkeys(("cached_tokens", "cache_write_tokens", "audio_tokens"), INTEGER)
        ),
        "completion_tokens_details": record(
            dict.fromkeys(
                (
                    *("reasoning_tokens", "audio_tokens"),
                    *("accepted_prediction_tokens", "rejected_prediction_tokens"),
                ),
                INTEGER,
            )
        ),
    }
)

FINISH_REASON: Schema = words(
    "stop", "length", "content_filter", "tool_calls", "function_call", None
)

LOGPROBS: Schema = {"type": "null"}

HEAD: dict[str, Schema] = {
    "id": STRING,
    "created": INTEGER,
    "model": STRING,
    "system_fingerprint": STRING,
}
"""What every object of an answer with choices begins with."""

EVENT_ERROR: Schema = told(
    record({"error": ANY}),
    "A failure after the 200: the error envelope, as the last event but one.",
)

TEXT_OR_NULL: Schema = of(STRING, {"type": "null"})
