"""Output format of an answer: text, a JSON object, or what a JSON schema describes, and what enforces it. Pure.

codex hands a schema on only as `strict: true`, under a name of its own. A schema that OpenAI would accept as strict
goes that way, and so does one that is strict once it is closed, where the caller left it open. Any other one, and a
plain JSON object, becomes an instruction, and a whole answer is checked against it; a stream cannot be, since it is
sent before it is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.answers.json_extraction import ANY_KIND, only_value
from app.answers.metaschema import JSON_SCHEMA, check_size, first_violation
from app.answers.schema_check import check
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
    keywords of the schema that have no effect. `otherwise` takes its place where the upstream refuses a strict schema
    that its caller had not declared strict.
    """

    strict_schema: Mapping[str, Any] | None = None
    instruction: str | None = None
    schema: Mapping[str, Any] | None = None
    ignored: tuple[str, ...] = ()
    otherwise: OutputFormat | None = None

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
    # codex has no place for it but the schema itself, where it may be taken already.
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
        sent = None
    only = _ONLY_JSON.format("object" if schema.get("type") == "object" else "value")
    order = f"{only} It must follow this JSON schema ({name}): {orjson.dumps(schema).decode()}"
    instruction = f"{meaning}\n{order}" if meaning else order
    instructed = OutputFormat(instruction=instruction, schema=schema, ignored=ignored)
    if sent is None:
        return instructed
    otherwise = None if strict else instructed
    if description and "description" not in sent:
        sent, meaning = {**sent, "description": description}, None
    return OutputFormat(sent, instruction=meaning, ignored=ignored, otherwise=otherwise)


def _check_schema(schema: Mapping[str, Any], where: str) -> None:
    check_size(schema, where, "invalid_json_schema")
    if wrong := first_violation(schema, "schema", JSON_SCHEMA):
        at, reason = wrong
        raise InvalidRequest(
            f"Invalid '{where}': at '{at[:200]}' {reason[:200]}.",
            param=where,
            code="invalid_json_schema",
        )
