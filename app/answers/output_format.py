"""`response_format`: what shape the answer must have, and who sees to it. Pure.

codex hands a schema on only as `strict: true`, under a name of its own. A schema that OpenAI would accept as strict
goes that way. Any other one, and `json_object`, becomes an instruction, and a whole answer is checked against it; a
stream has left the house before it could be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from jsonschema import validators
from referencing import Registry
from referencing.exceptions import Unresolvable as ReferencingError

from app.answers.field_errors import check_size, invalid_type, invalid_value, missing
from app.answers.metaschema import ALL, first_violation
from app.answers.strict_schema import why_not_strict
from app.errors import InvalidRequest

_TYPES = ("text", "json_object", "json_schema")


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """`strict_schema` goes to the upstream, which sees to it; `instruction` to the model.

    An instruction without a strict schema is all that there is, so `problem` checks the answer.
    """

    strict_schema: Mapping[str, Any] | None = None
    instruction: str | None = None
    schema: Mapping[str, Any] | None = None

    @property
    def is_checked(self) -> bool:
        """True if nobody but us sees to it."""
        return self.instruction is not None and self.strict_schema is None

    def problem(self, text: str) -> str | None:
        """Return what is wrong with a whole answer, None if nothing is."""
        if not self.is_checked:
            return None
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return "it is not valid JSON"
        if self.schema is None:
            return None if isinstance(value, dict) else "it is not a JSON object"
        return check(value, self.schema)


TEXT = OutputFormat()

_ONLY_JSON = "Answer with one JSON object and nothing else: no prose, no code fence."


def parse_format(given: Any) -> OutputFormat:
    """Read `response_format`. Raises `InvalidRequest`, which names the field."""
    if not isinstance(given, dict):
        raise invalid_type("response_format", "an object", given)
    kind = given.get("type")
    if kind is None:
        raise missing("response_format.type")
    if kind == "text":
        return TEXT
    if kind == "json_object":
        return OutputFormat(instruction=_ONLY_JSON)
    if kind != "json_schema":
        raise invalid_value("response_format.type", kind, _TYPES)
    wrapper = given.get("json_schema")
    if wrapper is None:
        raise missing("response_format.json_schema")
    if not isinstance(wrapper, dict):
        raise invalid_type("response_format.json_schema", "an object", wrapper)
    return _from_schema(wrapper)


def _from_schema(wrapper: Mapping[str, Any]) -> OutputFormat:
    where = "response_format.json_schema"
    name = _member(wrapper, "name", str, "a string")
    schema = _member(wrapper, "schema", dict, "an object")
    strict = _member(wrapper, "strict", bool, "a boolean", is_optional=True)
    description = _member(wrapper, "description", str, "a string", is_optional=True)
    _check_schema(schema, f"{where}.schema")
    # codex has no place for it.
    meaning = f"The form of your answer ({name}): {description}" if description else None
    complaint = why_not_strict(schema, "schema")
    if complaint is None:
        return OutputFormat(strict_schema=schema, instruction=meaning)
    if strict:
        raise InvalidRequest(
            f"Invalid schema for response_format '{name[:64]}', which asks for 'strict': {complaint}",
            param=f"{where}.schema",
            code="invalid_json_schema",
        )
    written = orjson.dumps(schema).decode()
    order = f"{_ONLY_JSON} It must follow this JSON schema ({name}): {written}"
    return OutputFormat(instruction=f"{meaning}\n{order}" if meaning else order, schema=schema)


def _member(
    wrapper: Mapping[str, Any], name: str, kind: type, expected: str, *, is_optional: bool = False
) -> Any:
    value, where = wrapper.get(name), f"response_format.json_schema.{name}"
    if value is None and not is_optional:
        raise missing(where)
    if value is not None and not isinstance(value, kind):
        raise invalid_type(where, expected, value)
    return value


def check(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `value`, None if nothing is.

    The schema is a caller's: no reference is ever fetched, and no pattern is run, since one of them could keep this
    worker busy for minutes.
    """
    validator = _checker()(_without_dialects(schema), registry=Registry())
    try:
        error = next(validator.iter_errors(value), None)
    # Whatever a reference led to (a sentence, a list) was no schema; jsonschema does not say so in one way.
    except (RecursionError, ReferencingError, _TooManySteps, AttributeError, TypeError):
        return "its schema cannot be followed"
    return None if error is None else f"at {error.json_path}: {error.message[:200]}"


_DIALECT = validators.Draft202012Validator
_MAX_STEPS = 50_000
"""Keywords looked at, over the whole answer; about a second."""


class _TooManySteps(Exception):
    pass


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _checker() -> Any:
    """Return a validator class with a budget of steps, which skips what runs a pattern or compares all with all."""
    left = _MAX_STEPS

    def counted(keyword: Any) -> Any:
        def check_keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            nonlocal left
            left -= 1 + (len(value) if isinstance(value, list) else 0)
            if left < 0:
                raise _TooManySteps
            return keyword(validator, value, instance, schema) or ()

        return check_keyword

    others = _DIALECT.VALIDATORS["additionalProperties"]

    def without_patterns(validator: Any, extra: Any, instance: Any, schema: Any) -> Any:
        # It would run the patterns beside it.
        return () if "patternProperties" in schema else others(validator, extra, instance, schema)

    keywords = {**_DIALECT.VALIDATORS, "additionalProperties": without_patterns}
    keywords |= dict.fromkeys(_SKIPPED, _nothing)
    steps = {name: counted(keyword) for name, keyword in keywords.items()}
    return validators.extend(_DIALECT, steps)  # type: ignore[no-untyped-call]


_SKIPPED = (
    *("pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems"),
    *("uniqueItems", "$dynamicRef"),
)


def _without_dialects(schema: Any, *, is_keyword_level: bool = True) -> Any:
    """Return the schema without `$schema`, which would bring back a validator class that has all its keywords."""
    if isinstance(schema, list):
        return [_without_dialects(entry) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: _without_dialects(value, is_keyword_level=not is_keyword_level or name not in _NAMED)
        for name, value in schema.items()
        if not (is_keyword_level and name == "$schema")
    }


_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})


def _check_schema(schema: Mapping[str, Any], where: str) -> None:
    check_size(schema, where, "invalid_json_schema")
    if wrong := first_violation(schema, "schema", ALL):
        at, expected = wrong
        raise InvalidRequest(
            f"Invalid '{where}': expected {expected} at '{at[:200]}'.",
            param=where,
            code="invalid_json_schema",
        )
