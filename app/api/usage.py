"""Token counts as OpenAI shows them. Pure."""

from __future__ import annotations

from typing import Any

from app.backend.events import Usage


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
