"""Parameters that several endpoints share: `stop`, `n`, `stream_options`, `service_tier`, names. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.answers.field_errors import invalid_type
from app.api.members import Members
from app.errors import InvalidRequest

STREAM_OPTIONS = Members(frozenset({"include_usage"}), harmless={"include_obfuscation": (False,)})
"""What of `stream_options` is read."""
PARAGRAPH = "\n\n"
"""Between the messages of one answer, where there is one text for all of them."""

_MAX_STOPS = 16
"""OpenAI takes 4. Editors shorten their list for that server only: Continue's completions send 6 and more to others."""

_LONGEST_STOP = 1000
"""Characters. Each delta is searched for every beginning of each sequence."""


def stop_sequences(stop: Any) -> tuple[str, ...]:
    """Read `stop`: a string, or up to 16 of them; an empty one asks for nothing. Raises `InvalidRequest`."""
    if stop is None:
        return ()
    sequences = [stop] if isinstance(stop, str) else stop
    if not isinstance(sequences, list):
        raise invalid_type("stop", "a string or an array of strings", stop)
    if len(sequences) > _MAX_STOPS:
        raise InvalidRequest(
            f"Invalid 'stop': array too long. Expected at most {_MAX_STOPS} sequences.",
            param="stop",
            code="array_above_max_length",
        )
    for index, sequence in enumerate(sequences):
        if not isinstance(sequence, str):
            raise invalid_type(f"stop[{index}]", "a string", sequence)
        if len(sequence) > _LONGEST_STOP:
            where = "stop" if isinstance(stop, str) else f"stop[{index}]"
            raise InvalidRequest(
                f"Invalid '{where}': string too long. Expected at most {_LONGEST_STOP} characters.",
                param=where,
                code="string_above_max_length",
            )
    return tuple(sequence for sequence in sequences if sequence)


def choice_count(given: Mapping[str, Any], max_choices: int) -> int:
    """Read `n`, a checked integer. Raises `InvalidRequest` if it is more than this gateway gives."""
    n: int = given.get("n", 1)
    if n > max_choices:
        raise InvalidRequest(
            f"Invalid 'n': this gateway gives at most {max_choices} choices, but {n} were asked for.",
            param="n",
            code="integer_above_max_value",
        )
    return n


def include_usage(given: Mapping[str, Any]) -> bool:
    """Read `stream_options.include_usage`. Raises `InvalidRequest`."""
    options = given.get("stream_options")
    if options is None:
        return False
    if not given.get("stream"):
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    wanted = options.get("include_usage")
    if wanted is not None and not isinstance(wanted, bool):
        raise invalid_type("stream_options.include_usage", "a boolean", wanted)
    return bool(wanted)


_TIERS = {"flex": "flex", "priority": "priority", "fast": "priority"}
"""The tiers that codex hands on, in the words that it sends. `auto` and `default` need no word."""


def service_tier(given: Mapping[str, Any]) -> str | None:
    """Return codex's word for the `service_tier`, None where it needs none."""
    return _TIERS.get(given.get("service_tier", "auto"))


CONVERSATION_NAMES = ("prompt_cache_key", "safety_identifier", "user")
"""Fields in which clients name a conversation, or whoever leads it."""


def conversation_names(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names beside their fields, so that one field's is not another's."""
    named = ((name, body.get(name)) for name in CONVERSATION_NAMES)
    return tuple(f"{name}={value}" for name, value in named if value and isinstance(value, str))
