"""Fields of an endpoint's body: their types, which are refused, and which have no effect. Pure.

Honoured, accepted and ignored, or refused: never silently half-done. `null` means absent for every optional field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema

from app.answers.field_errors import missing, unsupported
from app.api.members import BodyPass, BodyShape, Kinds, Members
from app.errors import InvalidRequest

MOST_ENTRIES = 20_000
"""Entries of a conversation in one request. Reading them costs the worker's only thread microseconds each."""

Values = Mapping[str, tuple[Any, ...]]
"""Fields, with the values of each that ask for nothing."""


class BodyFields:
    """What an endpoint reads of a body. `inner` describes the fields that are objects, or arrays of them.

    What is `ignored` is sent by habit and without effect here; what is `refused` would change what the answer is.
    """

    def __init__(
        self,
        schema: Schema,
        inner: Mapping[str, Members | Kinds],
        *,
        ignored: Values,
        refused: Values,
    ) -> None:
        self.schema, self.inner, self.ignored, self.refused = schema, inner, ignored, refused
        read = frozenset({*schema.fields, *refused} - ignored.keys())
        self._shape = BodyShape(Members(read, inner, ignored))

    def load(
        self, body: Mapping[str, Any], *, needs_model: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields that are not null: all, and those that are known. Raises `InvalidRequest`."""
        given = dict(body)
        if None in body.values():
            given = {name: value for name, value in body.items() if value is not None}
        if needs_model and "model" not in given:
            raise missing("model")
        # Not `Schema.load`, which asks every field, given or not, for a default and validators. None has any.
        known = {
            name: field.deserialize(given[name], name, given)
            for name, field in self.schema.load_fields.items()
            if name in given
        }
        for name, harmless in self.refused.items():
            if name in given and given[name] not in harmless:
                raise unsupported(name)
        return given, known

    def read(
        self, given: dict[str, Any], known: Mapping[str, Any]
    ) -> tuple[dict[str, Any], BodyPass]:
        """Return the known fields without nulls in their objects, and the pass that names what is not read."""
        body_pass = BodyPass()
        read = body_pass.over(given, self._shape)
        return {name: read[name] for name in known}, body_pass

    def names(self, body_pass: BodyPass) -> tuple[str, ...]:
        """Return the names of what has no effect, in one order."""
        return body_pass.names(self.ignored)


def check_count(entries: list[Any], lists: tuple[str, ...], where: str, what: str) -> None:
    """Refuse a conversation that would take long only because there is so much of it.

    `lists` are the members of an entry that have entries themselves, `what` names all of them.
    """
    count = len(entries)
    if count <= MOST_ENTRIES:
        for entry in entries:
            if isinstance(entry, dict):
                inner = (entry.get(name) for name in lists)
                count += sum(len(found) for found in inner if isinstance(found, list))
    if count > MOST_ENTRIES:
        raise InvalidRequest(
            f"Invalid '{where}': array too long. Expected at most {MOST_ENTRIES} {what} together, but got {count} "
            "instead.",
            param=where,
            code="array_above_max_length",
        )
