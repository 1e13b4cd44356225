"""Sampling parameters that chat completions and completions share: `stop`, `n`, `stream_options`. Pure."""

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
