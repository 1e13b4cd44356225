"""Output format of an answer: text, a JSON object, or what a JSON schema describes, and what enforces it. Pure.

codex hands a schema on only as `strict: true`, under a name of its own. A schema that OpenAI would accept as strict
goes that way, and so does one that is strict once it is closed, where the caller left it open. Any other one, and a
plain JSON object, becomes an instruction, and a whole answer is checked against it; a stream cannot be, since it is
sent before it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from jsonschema import validators
from referencing import Registry
from referencing.exceptions import Unresolvable as ReferencingError

from app.answers.json_extraction import ANY_KIND, only_value
from app.answers.metaschema import JSON_SCHEMA, check_size, first_violation
from app.answers.schema_keywords import unknown_annotations
from app.answers.strict_schema import NotStrict, to_strict
from app.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class FormatFields:
    """An endpoint's names, for errors: of the format as a whole, and of the schema in it."""

    format: str
    schema: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer in the right form: what of the model's text the caller gets."""

    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an answer."""

    sentence: str


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """Form of an answer. `strict_schema` goes to the upstream, which enforces it; `instruction` goes to the model.

    Without a strict schema nothing enforces the instruction, so `accept` checks the answer. `ignored` names the
    keywords of the schema that have no effect.
    """

    strict_schema: Mapping[str, Any] | None = None
    instruction: str | None = None
    schema: Mapping[str, Any] | None = None
    ignored: tuple[str, ...] = ()

    @property
    def is_checked(self) -> bool:
        """True if the gateway alone enforces it."""
        return self.instruction is not None and self.strict_schema is None

    def accept(self, text: str) -> Accepted | Problem:
        """Return what a whole answer is for its caller: the text, or the one JSON value in it.

        A large answer takes up to a second: for a thread of its own where others must go on.
        """
        if not self.is_checked:
            return Accepted(text)
        schema: Mapping[str, Any] = _OBJECT if self.schema is None else self.schema
        kinds = schema.get("type", ANY_KIND)
        found = only_value(text, frozenset({kinds} if isinstance(kinds, str) else kinds))
        if found is None:
            return Problem("it is not valid JSON")
        if self.schema is None:
            is_right = isinstance(found.value, dict)
            return Accepted(found.text) if is_right else Problem("it is not a JSON object")
        problem = check(found.value, schema)
        return Accepted(found.text) if problem is None else Problem(problem)


_OBJECT: Mapping[str, Any] = {"type": "object"}
_ONLY_JSON = "Answer with one JSON {} and nothing else: no prose, no code fence."

TEXT = OutputFormat()
JSON_OBJECT = OutputFormat(instruction=_ONLY_JSON.format("object"))


def from_schema(
    name: str, schema: Mapping[str, Any], *, strict: bool, description: str, fields: FormatFields
) -> OutputFormat:
    """Return the format that a schema describes; an empty description says nothing.

    Raises `InvalidRequest`, which names the field of the schema.
    """
    _check_schema(schema, fields.schema)
    ignored = tuple(f"{fields.schema}.{keyword}" for keyword in unknown_annotations(schema))
    # codex has no place for it.
    meaning = f"The form of your answer ({name}): {description}" if description else None
    try:
        sent = to_strict(schema, "schema", closes=not strict)
    except NotStrict as complaint:
        if strict:
            raise InvalidRequest(
                f"Invalid schema for {fields.format} '{name[:64]}', which asks for 'strict': {complaint}",
                param=fields.schema,
                code="invalid_json_schema",
            ) from complaint
    else:
        return OutputFormat(strict_schema=sent, instruction=meaning, ignored=ignored)
    only = _ONLY_JSON.format("object" if schema.get("type") == "object" else "value")
    order = f"{only} It must follow this JSON schema ({name}): {orjson.dumps(schema).decode()}"
    instruction = f"{meaning}\n{order}" if meaning else order
    return OutputFormat(instruction=instruction, schema=schema, ignored=ignored)


def _check_schema(schema: Mapping[str, Any], where: str) -> None:
    check_size(schema, where, "invalid_json_schema")
    if wrong := first_violation(schema, "schema", JSON_SCHEMA):
        at, reason = wrong
        raise InvalidRequest(
            f"Invalid '{where}': at '{at[:200]}' {reason[:200]}.",
            param=where,
            code="invalid_json_schema",
        )


def check(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `value`, None if nothing is.

    The schema is a caller's: no reference is ever fetched, and no pattern is run, since one of them could keep this
    worker busy for minutes.
    """
    validator = _checker()(_without_dialects(schema), registry=Registry())
    try:
        error = next(validator.iter_errors(value), None)
    # Whatever a reference led to (a sentence, a list) was no schema; jsonschema does not say so in one way.
    except (
        *(RecursionError, ReferencingError, _TooManySteps),
        *(AttributeError, TypeError, ValueError),
    ):
        return "its schema cannot be followed"
    return None if error is None else f"at {error.json_path}: {error.message[:200]}"


_DIALECT = validators.Draft202012Validator
_MAX_STEPS = 50_000
"""Keywords looked at, over the whole answer; about a second."""

_MEMBERS_PER_STEP = 2
"""A keyword may look at every member of an array or an object, unless it is one of these."""

_LOOK_AT_NO_MEMBER = frozenset(
    {
        *("type", "required", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("$ref", "allOf", "anyOf", "oneOf", "not", "if"),
    }
)

_CHARACTERS_PER_STEP = 500
"""An error quotes the value that is wrong, however long it is."""


class _TooManySteps(Exception):
    pass


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _checker() -> Any:
    """Return a validator class with a budget of steps, which skips what runs a pattern or compares all with all."""
    left = _MAX_STEPS

    def spend(steps: int) -> None:
        nonlocal left
        left -= steps
        if left < 0:
            raise _TooManySteps

    def counted(name: str, keyword: Any) -> Any:
        looks = name not in _LOOK_AT_NO_MEMBER

        def check_keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            spend(1 + _length(value) + (_length(instance) // _MEMBERS_PER_STEP if looks else 0))
            for error in keyword(validator, value, instance, schema) or ():
                spend(len(error.message) // _CHARACTERS_PER_STEP)
                yield error

        return check_keyword

    others = _DIALECT.VALIDATORS["additionalProperties"]

    def without_patterns(validator: Any, extra: Any, instance: Any, schema: Any) -> Any:
        # It would run the patterns beside it.
        return () if "patternProperties" in schema else others(validator, extra, instance, schema)

    keywords = {**_DIALECT.VALIDATORS, "additionalProperties": without_patterns}
    keywords |= dict.fromkeys(_SKIPPED, _nothing)
    steps = {name: counted(name, keyword) for name, keyword in keywords.items()}
    return validators.extend(_DIALECT, steps)  # type: ignore[no-untyped-call]


_SKIPPED = (
    "pattern",
    "patternProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "uniqueItems",
    "$dynamicRef",
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
