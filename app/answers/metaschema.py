"""Metaschemas that a caller's schema is held against: JSON Schema's own (2020-12), and what codex reads of it. Pure.

codex refuses a tool whose schema it cannot read, but does not say where it stopped. Both are compiled once; one pass
over a schema of a checked size takes a few milliseconds and fetches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError, ValidationErrorKind

from app.errors import InvalidRequest

_LONGEST_NAME = 64

_MASK = "the value there"
"""What sentences say in place of the value, which may be long."""

_MAX_LEVELS = 64  # of JSON; a property takes two, its name and its schema
_MAX_NODES = 5_000  # objects and arrays, and members of one of them
MAX_VALUES = 50_000
"""Also of all schemas of one request together. codex takes up to 13 µs over each, several times; the tools of a large
agent have 12,000."""

_MAX_CHARACTERS = 1 << 20


def measure(value: Any, most: int = MAX_VALUES) -> tuple[int, int]:
    """Return how many values there are in a JSON value, and how many characters; of more values than `most`, some.

    Linear, without recursion.
    """
    level, values, characters = [value], 0, 0
    while level and values <= most:
        characters += sum(len(node) for node in level if isinstance(node, str))
        nodes = [node for node in level if isinstance(node, Mapping | list)]
        values += sum(map(len, nodes))
        level = []
        for node in nodes if values <= most else ():
            level += node.values() if isinstance(node, Mapping) else node
            characters += sum(map(len, node)) if isinstance(node, Mapping) else 0
    return values, characters


def check_size(schema: Any, where: str, code: str) -> None:
    """Refuse a schema that is too large or too deep to be read in a moment. Linear, without recursion."""
    level, nodes, values = [schema], 0, 0
    for _ in range(_MAX_LEVELS):
        values += sum(map(len, level))
        if values > MAX_VALUES or max(map(len, level)) > _MAX_NODES:
            break
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, Mapping) else node)
            if isinstance(child, Mapping | list)
        ]
        nodes += len(level)
        if not level:
            if measure(schema)[1] > _MAX_CHARACTERS:
                break
            return
        if nodes > _MAX_NODES:
            break
    raise InvalidRequest(
        f"Invalid '{where}': the schema is too large or nested too deeply.", param=where, code=code
    )


def first_violation(
    schema: Any, where: str, metaschema: Draft202012Validator
) -> tuple[str, str] | None:
    """Return the place of a value that the metaschema forbids and what is wrong with it; None if there is none.

    `where` is what the schema is called. Recursive: for schemas of a checked size.
    """
    try:
        metaschema.validate(schema)
    except ValidationError as error:
        return where + "".join(map(_step, error.instance_path)), _reason(error)
    return None


def _step(key: str | int) -> str:
    return f"[{key}]" if isinstance(key, int) else f".{key[:_LONGEST_NAME]}"


def _reason(error: ValidationError) -> str:
    # Of several ways to be right, the first is the plainest: one type, not a list of them.
    while isinstance(error.kind, ValidationErrorKind.AnyOf):
        error = error.kind.context[0][0]
    if isinstance(error.kind, ValidationErrorKind.Enum):
        return f"{_MASK} is none of {', '.join(map(str, error.kind.options))}"
    return error.message


def _compile(metaschema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(metaschema, offline=True, validate_formats=False, mask=_MASK)


JSON_SCHEMA = _compile({"$ref": "https://json-schema.org/draft/2020-12/schema"})
"""What JSON Schema itself says, whatever dialect a schema claims to be in."""


def _read_by_codex() -> dict[str, Any]:
    keywords = {"$ref": "#/$defs/keywords"}
    member = {"type": ["object", "boolean", "null"], **keywords}
    entry = {"type": ["object", "boolean"], **keywords}
    named: Mapping[str, Any] = {"type": ["object", "null"], "additionalProperties": entry}
    several: Mapping[str, Any] = {"type": ["array", "null"], "items": entry}
    text: Mapping[str, Any] = {"type": ["string", "null"]}
    properties = {
        **dict.fromkeys(("properties", "$defs"), named),
        **dict.fromkeys(("items", "additionalProperties"), member),
        **dict.fromkeys(("anyOf", "oneOf", "allOf"), several),
        **dict.fromkeys(("description", "$ref"), text),
        "enum": {"type": ["array", "null"]},
        "required": {"type": ["array", "null"], "items": {"type": "string"}},
        "minItems": {"type": ["integer", "null"], "minimum": 0},
    }
    return {**entry, "$defs": {"keywords": {"properties": properties}}}


READ_BY_CODEX = _compile(_read_by_codex())
"""Keywords whose value codex must understand to take a tool; a member that is null is absent."""
