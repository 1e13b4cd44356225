"""Response object that opens and closes the stream, and its token counts. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from scripted_upstream.events import Rendered
from scripted_upstream.logical_input import counted
from scripted_upstream.prompt_cache import Charge
from scripted_upstream.script import Usage

_BYTES_PER_TOKEN = 4

_DEFAULTS: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """New in each call: the middle of its ids, the Unix time in seconds, and what a prompt cache says of its input."""

    nonce: str
    created_at: int
    charge: Charge | None = None


def response_object(
    request: dict[str, Any],
    stamp: Stamp,
    *,
    status: Literal["in_progress", "completed", "incomplete", "failed"],
    **ending: Any,
) -> dict[str, Any]:
    """Return the response object; `ending` may hold error, incomplete, output and usage."""
    incomplete = ending.get("incomplete")
    reasoning = request.get("reasoning") or {}
    text = request.get("text") or {}
    echoed = {name: request.get(name, default) for name, default in _DEFAULTS.items()}
    return {
        "id": f"resp_{stamp.nonce}",
        "object": "response",
        "created_at": stamp.created_at,
        "status": status,
        "error": ending.get("error"),
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "output": ending.get("output", []),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "text": {"format": text.get("format") or {"type": "text"}},
        "usage": ending.get("usage"),
        **echoed,
    }


def usage_object(
    usage: Usage, request: dict[str, Any], rendered: Rendered, charge: Charge | None = None
) -> dict[str, Any]:
    """Return token counts: the scripted ones, else four bytes a token in, one delta a token out.

    `charge` is what a prompt cache says of the input, where no script does.
    """
    reasoning = usage.reasoning_tokens
    if reasoning is None:
        reasoning = rendered.reasoning_deltas
    taken, cached = usage.input_tokens, usage.cached_tokens
    if taken is None and charge is not None:
        taken, cached = charge.input_tokens, charge.cached_tokens
    elif taken is None:
        taken = max(1, len(orjson.dumps(counted(request.get("input")))) // _BYTES_PER_TOKEN)
    given = usage.output_tokens
    if given is None:
        given = rendered.text_deltas + reasoning
    return {
        "input_tokens": taken,
        "input_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": taken + given,
    }
