"""Which fields a chat completion request may have, and what becomes of each.

Honoured, accepted and ignored (and then named in `codex_metadata.ignored_parameters`), or refused: never silently
half-done. `null` means absent for every optional field. Unknown fields are ignored, as OpenAI's own SDKs add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from marshmallow import EXCLUDE, Schema, fields

from app.errors import InvalidRequest
from app.translation.invalid import invalid_type, missing, unsupported
from app.translation.prompt import Item, to_items


class Typed(fields.Field[Any]):
    """A field of one JSON type. Raises our own error at once, so that it names the field as OpenAI does."""

    # marshmallow calls _deserialize with `data` and more, whether a field cares or not.

    def __init__(self, kind: type | tuple[type, ...], expected: str, **options: Any) -> None:
        super().__init__(**options)
        self._kind, self._expected = kind, expected

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        # bool is an int in Python, but `true` is no number in JSON.
        if not isinstance(value, self._kind) or (
            isinstance(value, bool) and self._kind is not bool
        ):
            raise invalid_type(str(attr), self._expected, value)
        return value


class Ranged(Typed):
    """A number within bounds, both included."""

    def __init__(self, low: float, high: float, *, whole: bool = False) -> None:
        kind, expected = (int, "an integer") if whole else ((int, float), "a number")
        super().__init__(kind, expected)
        self._low, self._high = low, high

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        number = super()._deserialize(value, attr, data, **kwargs)
        if not self._low <= number <= self._high:
            raise InvalidRequest(
                f"Invalid '{attr}': expected a value from {self._low:g} to {self._high:g}, "
                f"but got {number:g} instead.",
                param=attr,
            )
        return number


class ChatCompletionSchema(Schema):
    """The fields that are read; see `IGNORED` and `REFUSED` for the others that are known."""

    class Meta:
        """Fields that nobody knows are dropped."""

        unknown = EXCLUDE

    model = Typed(str, "a string", required=True)
    messages = Typed(list, "an array of messages", required=True)
    stream = Typed(bool, "a boolean")
    stream_options = Typed(dict, "an object")
    reasoning_effort = Typed(str, "a string")
    temperature = Ranged(0, 2)
    top_p = Ranged(0, 1)
    presence_penalty = Ranged(-2, 2)
    frequency_penalty = Ranged(-2, 2)
    max_tokens = Ranged(1, 1 << 40, whole=True)
    max_completion_tokens = Ranged(1, 1 << 40, whole=True)
    seed = Ranged(-(1 << 63), (1 << 63) - 1, whole=True)
    n = Ranged(1, 128, whole=True)
    logprobs = Typed(bool, "a boolean")
    top_logprobs = Ranged(0, 20, whole=True)


IGNORED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "temperature": (1,),
        "top_p": (1,),
        "seed": (),
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "logit_bias": ({},),
        "max_tokens": (),
        "max_completion_tokens": (),
        "metadata": ({},),
        "parallel_tool_calls": (True,),
        "prediction": (),
        "prompt_cache_key": (),
        "prompt_cache_retention": (),
        "safety_identifier": (),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "user": (),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
)
"""Sent by habit, without effect here. The values beside a name change nothing, so they are not reported."""

REFUSED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "logprobs": (False,),
        "modalities": (["text"],),
        "n": (1,),
        "response_format": ({"type": "text"},),
        "stop": ([], ""),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
    }
)
"""Would change what the answer means, so a 400; except with the values beside the name, which ask for nothing."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request."""

    model: str
    items: tuple[Item, ...]
    stream: bool
    include_usage: bool
    effort: str | None
    ignored: tuple[str, ...]


_SCHEMA = ChatCompletionSchema()


def parse_request(body: Mapping[str, Any]) -> ChatRequest:
    """Check the body. Raises `InvalidRequest`, which names the first field that is wrong."""
    given = {name: value for name, value in body.items() if value is not None}
    for name in ("model", "messages"):
        if name not in given:
            raise missing(name)
    fields_read: dict[str, Any] = _SCHEMA.load(given)
    for name, harmless in REFUSED.items():
        if name in given and given[name] not in harmless:
            raise unsupported(name)
    messages = fields_read["messages"]
    if not messages:
        raise InvalidRequest(
            "Invalid 'messages': empty array. Expected at least one message.",
            param="messages",
            code="empty_array",
        )
    return ChatRequest(
        model=fields_read["model"],
        items=to_items(messages),
        stream=fields_read.get("stream", False),
        include_usage=_include_usage(fields_read),
        effort=fields_read.get("reasoning_effort"),
        ignored=_ignored(given, messages),
    )


def _include_usage(fields_read: Mapping[str, Any]) -> bool:
    options = fields_read.get("stream_options")
    if options is None:
        return False
    if not fields_read.get("stream"):
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    wanted = options.get("include_usage")
    if wanted is not None and not isinstance(wanted, bool):
        raise invalid_type("stream_options.include_usage", "a boolean", wanted)
    return bool(wanted)


def _ignored(given: Mapping[str, Any], messages: list[Any]) -> tuple[str, ...]:
    names = [name for name, harmless in IGNORED.items() if name in given]
    names = [name for name in names if given[name] not in IGNORED[name]]
    if any(message.get("name") for message in messages):
        names.append("messages.name")
    return tuple(names)
