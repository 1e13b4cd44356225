"""Usage and finish reasons in OpenAI's words, for chat completions and completions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.answers.chunks import Cause
from app.backend.events import Usage

FINISH_REASONS: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.FINISHED: "stop",
        Cause.CALLS: "tool_calls",
        Cause.STOP_SEQUENCE: "stop",
        Cause.TOKEN_LIMIT: "length",
        Cause.CONTENT_FILTER: "content_filter",
    }
)
"""OpenAI's `finish_reason` for every end of a choice."""


def render_usage(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's usage object. What codex does not count (audio, predictions) is zero."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_output,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
