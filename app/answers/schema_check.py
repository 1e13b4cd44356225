"""Check of an answer against a caller's JSON schema, within a budget of work. Pure.

Both are somebody else's words: the schema a caller's, the answer a model's that was told what to say. So no reference
is fetched, no pattern is run, and whatever takes long is given up. What is counted is what `jsonschema` does: keywords
and errors, members and entries looked at, values compared, characters quoted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator, validators
from referencing import Registry

from app.answers.schema_keywords import LISTED, NAMED, SINGLE

MOST_STEPS = 50_000
"""About a second."""

_MOST_DEEP = 128
"""Keywords within keywords, some stack frames each. At its end `jsonschema` fails with what is no `Exception`."""

_CANNOT_BE_FOLLOWED = "its schema cannot be followed"
_SHOWN = 200
_MEMBERS_PER_STEP = 2
_VALUES_PER_STEP = 10  # compared, or members of a schema
_STEPS_PER_ERROR = 3  # it is passed up through every keyword around it, and counted there again
_CHARACTERS_PER_STEP = 500
"""An error quotes the value that is wrong, however long it is."""


def check(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `value`, None if nothing is. Takes a second at most: for a thread of its own.

    The schema must be a valid one. A reference is followed as a path into the schema (`#/$defs/name`), and not by
    other names.
    """
    try:
        error = next(_Check(schema).errors(value), None)
    # Whatever a reference led to (a sentence, a list) was no schema; jsonschema does not say so in one way.
    except (
        *(_GivenUp, RecursionError, ArithmeticError),
        *(AttributeError, LookupError, TypeError, ValueError),
    ):
        return _CANNOT_BE_FOLLOWED
    return None if error is None else f"at {error.json_path[:_SHOWN]}: {error.message[:_SHOWN]}"


class _GivenUp(Exception):
    """It takes too long, or a reference leads nowhere."""


_LOOK_AT_NO_MEMBER = frozenset(
    {
        *("type", "required", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("$ref", "allOf", "anyOf", "oneOf", "not", "if"),
    }
)
"""Any other keyword may look at every member of an array or an object."""

_COMPARED = frozenset({"enum", "const", "required", "dependentRequired"})
"""Keywords whose value is gone through, however deep it is."""

_SKIPPED = frozenset(
    {
        *("pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems"),
        *("uniqueItems", "$dynamicRef", "format"),
    }
)
"""Keywords that would run a pattern or compare all with all."""

_ENFORCED = Draft202012Validator.VALIDATORS.keys() - _SKIPPED
_READ = frozenset({*_ENFORCED, "then", "else", "minContains", "maxContains"})


class _Check:
    """One check. Its validator knows no other keywords than those that are counted, and no `$id` or `$schema`."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._left = MOST_STEPS
        self._depth = 0
        self._targets: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}
        keywords = {name: self._counted(name) for name in _ENFORCED}
        self._class: Any = validators.create({}, keywords, type_checker=_TYPES)

    def errors(self, value: Any) -> Iterator[Any]:
        """Yield what is wrong. Raises `_GivenUp`, or what the keywords make of a value that they do not expect."""
        found: Iterator[Any] = self._class(
            self._reduced(self._schema), registry=Registry()
        ).iter_errors(value)
        return found

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _GivenUp

    def _counted(self, name: str) -> Any:
        keyword = self._follow if name == "$ref" else Draft202012Validator.VALIDATORS[name]
        looks, compares = name not in _LOOK_AT_NO_MEMBER, name in _COMPARED

        def check_keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            steps = 1 + (self._size(value) // _VALUES_PER_STEP if compares else _length(value))
            self._spend(steps + (_length(instance) // _MEMBERS_PER_STEP if looks else 0))
            self._depth += 1
            if self._depth > _MOST_DEEP:
                raise _GivenUp
            for error in keyword(validator, value, instance, schema) or ():
                self._spend(_STEPS_PER_ERROR + len(error.message) // _CHARACTERS_PER_STEP)
                self._depth -= 1  # while the error is with those above
                yield error
                self._depth += 1
            self._depth -= 1

        return check_keyword

    def _follow(self, validator: Any, pointer: str, instance: Any, _schema: Any) -> Any:
        if pointer not in self._targets:
            self._targets[pointer] = self._reduced(self._target(pointer))
        return validator.descend(instance, self._targets[pointer])

    def _target(self, pointer: str) -> Any:
        """Return what a JSON pointer in a fragment leads to (RFC 6901, section 6)."""
        root, *path = unquote(pointer).split("/")
        self._spend(1 + len(pointer) // _CHARACTERS_PER_STEP)
        if root != "#":
            raise _GivenUp
        found: Any = self._schema
        for escaped in path:
            part = escaped.replace("~1", "/").replace("~0", "~")
            found = found[int(part)] if isinstance(found, list) else found[part]
        return found

    def _reduced(self, schema: Any) -> Any:
        """Return a schema without what is not enforced: each of its keywords would cost something at every visit."""
        if isinstance(schema, bool):
            return schema
        self._spend(1 + len(schema) // _VALUES_PER_STEP)
        reduced: dict[str, Any] = {name: schema[name] for name in schema if name in _READ}
        if "patternProperties" in schema:
            reduced.pop("additionalProperties", None)  # would run the patterns beside it
        for name, value in reduced.items():
            if name in SINGLE:
                reduced[name] = self._reduced(value)
            elif name in LISTED:
                reduced[name] = list(map(self._reduced, value))
            elif name in NAMED:
                reduced[name] = {key: self._reduced(entry) for key, entry in value.items()}
        return reduced

    def _size(self, value: Any) -> int:
        """Return how many values a keyword's value has, in it and below."""
        known = self._sizes.get(id(value))
        if known is None:
            known = self._sizes[id(value)] = _count(value)
        return known


_TYPES = Draft202012Validator.TYPE_CHECKER


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _count(value: Any) -> int:
    """Return the number of values in a JSON value, without recursion."""
    count, waiting = 0, [value]
    while waiting:
        entry = waiting.pop()
        count += 1
        if isinstance(entry, list | dict):
            waiting += entry if isinstance(entry, list) else entry.values()
    return count
