"""Fields for the endpoints' marshmallow schemas, which raise OpenAI's sentence about the first mistake.

Each says as a JSON schema what it takes, for the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, fields

from app.answers.field_errors import invalid_type, invalid_value
from app.errors import InvalidRequest

_JSON_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


class Typed(fields.Field[Any]):
    """A field of one JSON type. Raises our own error at once, so that it names the field as OpenAI does."""

    # marshmallow calls _deserialize with `data` and more, whether a field cares or not.

    def __init__(self, kind: type | tuple[type, ...], expected: str, **options: Any) -> None:
        super().__init__(**options)
        self._kind, self._expected = kind, expected

    def json_schema(self) -> dict[str, Any]:
        """Return what the field takes."""
        kinds = self._kind if isinstance(self._kind, tuple) else (self._kind,)
        return {"type": _JSON_TYPES[kinds[-1]]}

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

    def json_schema(self) -> dict[str, Any]:
        """Return what the field takes."""
        return {**super().json_schema(), "minimum": self._low, "maximum": self._high}

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


class OneOf(Typed):
    """A string out of a few."""

    def __init__(self, *names: str) -> None:
        super().__init__(str, "a string")
        self._names = names

    def json_schema(self) -> dict[str, Any]:
        """Return what the field takes."""
        return {"enum": list(self._names)}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text not in self._names:
            raise invalid_value(str(attr), text, self._names)
        return text


class SamplingSchema(Schema):
    """Base of every endpoint's schema: the sampling parameters, and that unknown fields are dropped.

    The parameters have no effect here. They are checked so that a mistake is found as it would be at OpenAI's.
    """

    class Meta:
        """Unknown fields are dropped."""

        unknown = EXCLUDE

    temperature = Ranged(0, 2)
    top_p = Ranged(0, 1)
    presence_penalty = Ranged(-2, 2)
    frequency_penalty = Ranged(-2, 2)
    seed = Ranged(-(1 << 63), (1 << 63) - 1, whole=True)
