"""Exclusive schemas: whether no value fulfils two alternatives of a `oneOf`, which then says what `anyOf` says. Pure.

It is judged by what generators write: one type each, one string each, or objects with a property that tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.answers.schema_keywords import MOST_OPTIONS


def are_exclusive(alternatives: Sequence[Any]) -> bool:
    """Return True if each certainly excludes all others. References must have been followed."""
    if len(set(map(id, alternatives))) < len(alternatives):
        return False  # one definition twice, which may be large
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for entry in alternatives:
        kind = (
            entry.get("type", "string" if _strings(entry) else None)
            if isinstance(entry, Mapping)
            else None
        )
        if not isinstance(kind, str):
            return False
        kinds.setdefault("number" if kind == "integer" else kind, []).append(entry)
    return all(_are_told_apart(kind, entries) for kind, entries in kinds.items())


def _are_told_apart(kind: str, entries: Sequence[Mapping[str, Any]]) -> bool:
    if len(entries) == 1:
        return True
    if kind == "string":
        return _are_disjoint(map(_strings, entries))
    names = set.intersection(*(set(entry.get("required", ())) for entry in entries))
    members = ([entry.get("properties", {}).get(name) for entry in entries] for name in names)
    return kind == "object" and any(_are_disjoint(map(_strings, group)) for group in members)


def _strings(schema: Any) -> frozenset[str]:
    """Return the strings that a schema allows; none if it allows others, or more than a strict schema may name."""
    if not isinstance(schema, Mapping):
        return frozenset()
    values = [schema["const"]] if "const" in schema else schema.get("enum", ())
    if len(values) > MOST_OPTIONS:
        return frozenset()
    return frozenset(values) if all(isinstance(it, str) for it in values) else frozenset()


def _are_disjoint(groups: Iterable[frozenset[str]]) -> bool:
    seen: set[str] = set()
    for group in groups:
        if not group or seen & group:
            return False
        seen |= group
    return True
