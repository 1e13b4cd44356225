"""Members of request bodies: null ones are dropped, and whatever no code of ours reads is named. Pure.

An endpoint describes what it reads. Anything else in a body has no effect, so its name is told to the caller, whatever
it is. `null` means absent for every member of every object that is described. One pass, linear, tens of nanoseconds a
member: it runs for every request, on the worker's only thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any

MOST_NAMES = 32
LONGEST_NAME = 64
"""Characters of a member's name that are told; the objects around it have names of ours."""

_MOST_LOOKED_AT = 1000
"""Members of one object that are not read. Few of so many names would be told, and somebody waits meanwhile."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Members:
    """Members of an object that are read. `inner` describes those that are objects, or arrays of them.

    `harmless` has the values of members that are not read which ask for nothing.
    """

    read: frozenset[str]
    inner: Mapping[str, Members | Kinds] = field(default_factory=lambda: _NOTHING)
    harmless: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Objects of several kinds; `member` says which. One of an unknown kind is left to who reads it.

    `otherwise` is the kind of those that do not say it.
    """

    member: str
    kinds: Mapping[str, Members]
    otherwise: str = ""


def members(*names: str, **inner: Members | Kinds) -> Members:
    """Return the members of these names, and those that are objects themselves."""
    return Members(frozenset((*names, *inner)), inner)


class BodyShape:
    """A described body, made ready once: every object knows its own dotted name.

    `at` is that name and a dot, empty for the body itself.
    """

    __slots__ = ("at", "harmless", "inner", "kinds", "member", "otherwise", "read")

    def __init__(self, described: Members | Kinds, at: str = "") -> None:
        self.at = at
        self.member = self.otherwise = ""
        self.kinds: dict[str, BodyShape] = {}
        self.read: frozenset[str] = frozenset()
        self.harmless: Mapping[str, tuple[Any, ...]] = {}
        self.inner: tuple[tuple[str, BodyShape], ...] = ()
        if isinstance(described, Kinds):
            self.member, self.otherwise = described.member, described.otherwise
            self.kinds = {kind: BodyShape(it, at) for kind, it in described.kinds.items()}
        else:
            self.read, self.harmless = described.read, described.harmless
            inner = described.inner.items()
            self.inner = tuple((name, BodyShape(it, f"{at}{name}.")) for name, it in inner)

    def of(self, given: Mapping[str, Any]) -> BodyShape | None:
        """Return the shape of an object of one of several kinds, None if the kind is not known."""
        kind = given.get(self.member)
        if kind is None:
            kind = self.otherwise
        return self.kinds.get(kind) if isinstance(kind, str) else None


class BodyPass:
    """One pass over a body. `ignored` has the dotted names of what is not read, in the order of their appearance."""

    def __init__(self) -> None:
        self.ignored: dict[str, None] = {}

    def over(self, given: dict[str, Any], shape: BodyShape) -> dict[str, Any]:
        """Return the object without nulls; the one that is given is not changed."""
        known = shape.of(given) if shape.member else shape
        return given if known is None else self._over_known(given, known)

    def _over_known(self, given: dict[str, Any], shape: BodyShape) -> dict[str, Any]:
        if None in given.values():
            given = {name: value for name, value in given.items() if value is not None}
        if not shape.read.issuperset(given):
            self._note(given, shape)
        for name, inner in shape.inner:
            value = given.get(name)
            if isinstance(value, list):
                changed: Any = self._over_all(value, inner)
            elif isinstance(value, dict):
                changed = self.over(value, inner)
            else:
                continue
            if changed is not value:
                given = {**given, name: changed}
        return given

    def _over_all(self, entries: list[Any], shape: BodyShape) -> list[Any]:
        changed = entries
        for index, entry in enumerate(entries):
            if isinstance(entry, dict):
                without = self.over(entry, shape)
                if without is not entry:
                    if changed is entries:
                        changed = entries.copy()
                    changed[index] = without
        return changed

    def _note(self, given: Mapping[str, Any], shape: BodyShape) -> None:
        if len(self.ignored) >= MOST_NAMES:
            return
        unread = (name for name in given if name not in shape.read)
        for name in islice(unread, _MOST_LOOKED_AT):
            if given[name] not in shape.harmless.get(name, ()):
                self.note(f"{shape.at}{name[:LONGEST_NAME]}")

    def note(self, name: str) -> None:
        """Add a name, unless there are enough of them."""
        if len(self.ignored) < MOST_NAMES:
            self.ignored[name] = None

    def names(self, order: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the names in one order, whatever the body's: those in `order` first, the others by the alphabet."""
        first = [name for name in order if name in self.ignored]
        return (*first, *sorted(self.ignored.keys() - first))


def with_names(ignored: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    """Return the names with others at their end, each once, and not too many."""
    return (*ignored, *sorted(set(more) - set(ignored)))[:MOST_NAMES]
