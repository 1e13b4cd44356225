"""Differences of two values of JSON, member by member, as `codex parity` looks at them. Pure.

What belongs to one turn (ids, times) only has to be there. Of what upstreams are sent, that does not count which one
that goes on with its own answer says of it and one that is given it anew cannot: its status, empty lists, and reasoning
without encrypted content. Texts count as texts: empty, some words, or an object of
JSON with its members; with `words` what they say counts, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from itertools import zip_longest
from typing import Any

import orjson

ABSENT = "(absent)"
_UNSEEN = frozenset({"codex_metadata", "obfuscation"})
_OF_A_TURN = frozenset(
    {"id", "call_id", "tool_call_id", "item_id", "response_id", "previous_response_id", "first_id"}
    | {"last_id", "created", "created_at", "completed_at", "expires_at", "system_fingerprint"}
    | {"encrypted_content", "sequence_number"}
)
_WORDING = frozenset(
    {"content", "text", "refusal", "reasoning_content", "arguments", "input", "message", "delta"}
)
_AN_ID = re.compile(
    r"\b(?:resp|msg|rs|fc|ctc|call|req|chatcmpl|cmpl)[_-][\w-]{8,}"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
)
_FINISH = frozenset({"finish_reason", "status", "incomplete_details", "reason"})
_PROMPT = frozenset({"prompt_tokens", "input_tokens"})
_CACHE = frozenset({"cached_tokens", "cache_write_tokens"})
_WRITTEN = frozenset({"completion_tokens", "output_tokens", "total_tokens"})
_UPSTREAM_UNSEEN = frozenset({"client_metadata", "status"})
_SAY_NOTHING_EMPTY = frozenset({"annotations", "logprobs"})
_UPSTREAM_OF_A_TURN = _OF_A_TURN | {"prompt_cache_key"}


class Kind(Enum):
    """What a difference is about."""

    STATUS = "status"
    HEADER = "header"
    SHAPE = "shape"
    ORDER = "order"
    PIECES = "pieces"
    FINISH = "finish"
    USAGE = "usage"
    WORDS = "words"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `place` is a dotted path; `a` and `b` are JSON, or `(absent)`."""

    kind: Kind
    place: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Rules:
    """How to compare. `tolerance` is the part by which counts of tokens may differ, 0.1 being a tenth."""

    words: bool = False
    tolerance: float = 0.1


class Walk:
    """Comparison of two values of JSON, member by member."""

    def __init__(self, rules: Rules, *, is_upstream: bool = False) -> None:
        self._rules = rules
        self._is_upstream = is_upstream
        self._unseen = _UPSTREAM_UNSEEN if is_upstream else _UNSEEN
        self._of_a_turn = _UPSTREAM_OF_A_TURN if is_upstream else _OF_A_TURN

    def values(self, a: Any, b: Any, place: str) -> Iterator[Difference]:
        """Yield the differences of two values at this place."""
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from self._objects(a, b, place)
        elif isinstance(a, list) and isinstance(b, list):
            if _are_models(a) and _are_models(b):
                yield from self._models(a, b, place)
            else:
                yield from self.lists(a, b, place)
        elif type(a) is not type(b):
            yield self._found(place, a, b)
        elif place.rpartition(".")[2] in _WORDING and isinstance(a, str):
            yield from self._texts(a, b, place)
        elif a != b:
            yield self._found(place, a, b)

    def lists(self, a: Sequence[Any], b: Sequence[Any], place: str) -> Iterator[Difference]:
        """Yield the differences of two lists, entry by entry; places have A's indexes, or B's for what B alone has."""
        if self._is_upstream:
            a, b = ([entry for entry in given if not _is_lost_thought(entry)] for given in (a, b))
        for at, one, other in _pairs(a, b):
            yield from self.values(one, other, f"{place}.{at}")

    def _objects(
        self, a: Mapping[str, Any], b: Mapping[str, Any], place: str
    ) -> Iterator[Difference]:
        for name in _names(a, b):
            if name in self._unseen:
                continue
            inner = f"{place}.{name}" if place else name
            one, other = a.get(name, _NOTHING), b.get(name, _NOTHING)
            if (
                self._is_upstream
                and name in _SAY_NOTHING_EMPTY
                and {_size(one), _size(other)} == {0}
            ):
                continue
            if name in self._of_a_turn:
                if type(one) is not type(other):
                    yield self._found(inner, one, other)
            elif _is_count(one) and _is_count(other) and "usage." in inner:
                if not self._are_near(name, one, other):
                    yield self._found(inner, one, other)
            else:
                yield from self.values(one, other, inner)

    def _models(self, a: list[Any], b: list[Any], place: str) -> Iterator[Difference]:
        """Compare two lists of models by their names: one that is missing does not move all others."""
        one, other = ({model["id"]: model for model in models} for models in (a, b))
        yield from self.values(one, other, place)
        both = one.keys() & other.keys()
        shared = [[name for name in named if name in both] for named in (one, other)]
        if shared[0] != shared[1]:
            yield Difference(Kind.ORDER, f"{place} order", *(" > ".join(names) for names in shared))

    def _texts(self, a: str, b: str, place: str) -> Iterator[Difference]:
        one, other = _object_in(a), _object_in(b)
        if one is not None and other is not None and not self._is_upstream:
            yield from Walk(self._rules).values(_typed(one), _typed(other), place)
        elif bool(a) != bool(b) or (one is None) != (other is None):
            yield self._found(place, a, b)
            return
        a, b = (_AN_ID.sub("<id>", text) for text in (a, b))
        if self._rules.words and a != b:
            yield Difference(self._kind(place, Kind.WORDS), place, _around(a, b), _around(b, a))

    def _are_near(self, name: str, a: int, b: int) -> bool:
        if name in _CACHE and not self._rules.words:
            return True  # what a cache holds depends on what was asked before
        if name in _PROMPT or self._rules.words:
            return abs(a - b) <= self._rules.tolerance * max(a, b)
        return name not in _WRITTEN or bool(a) == bool(b)

    def _found(self, place: str, a: Any, b: Any) -> Difference:
        return Difference(self._kind(place, Kind.SHAPE), place, _shown(a), _shown(b))

    def _kind(self, place: str, otherwise: Kind) -> Kind:
        if self._is_upstream:
            return Kind.UPSTREAM
        names = place.split(".")
        if names[-1] in _FINISH:
            return Kind.FINISH
        return Kind.USAGE if "usage" in names else otherwise


class _Nothing:
    """A member that is not there."""


_NOTHING = _Nothing()


def _pairs(a: Sequence[Any], b: Sequence[Any]) -> Iterator[tuple[int, Any, Any]]:
    """Yield the entries that belong together, with an index. One item too many does not move all behind it."""
    kinds = [*map(_item_kind, a)], [*map(_item_kind, b)]
    if kinds[0] == kinds[1] or None in {*kinds[0], *kinds[1]}:
        for at, (one, other) in enumerate(zip_longest(a, b, fillvalue=_NOTHING)):
            yield at, one, other
        return
    for _, a0, a1, b0, b1 in SequenceMatcher(None, *kinds, autojunk=False).get_opcodes():
        is_pair = kinds[0][a0:a1] == kinds[1][b0:b1]
        for at in range(a0, a1):
            yield at, a[at], b[b0 + at - a0] if is_pair else _NOTHING
        for at in () if is_pair else range(b0, b1):
            yield at, _NOTHING, b[at]


def _item_kind(entry: Any) -> tuple[str, str] | None:
    """Return the type and the role of an item, of those that conversations consist of; None for anything else."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        return None
    return entry["type"], str(entry.get("role"))


def _is_lost_thought(entry: Any) -> bool:
    """True for reasoning that no upstream can read again: there is nothing sealed in it."""
    is_reasoning = isinstance(entry, Mapping) and entry.get("type") == "reasoning"
    return is_reasoning and not entry.get("encrypted_content")


def _size(value: Any) -> int:
    """Return the length of a list, 0 where there is none; -1 for anything else."""
    return 0 if value is _NOTHING else len(value) if isinstance(value, list) else -1


def _names(a: Iterable[str], b: Iterable[str]) -> Iterable[str]:
    """Return the names of both, those of the first in their order before the others."""
    return dict.fromkeys([*a, *b])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_models(values: list[Any]) -> bool:
    return bool(values) and all(
        isinstance(value, Mapping)
        and value.get("object") == "model"
        and isinstance(value.get("id"), str)
        for value in values
    )


def _object_in(text: str) -> dict[str, Any] | None:
    """Return the object that a text is, as the arguments of a call and structured output are."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _typed(value: Any) -> Any:
    """Return an object with the types of its members in place of what they say. A list's entries are of the first's."""
    if isinstance(value, dict):
        return {name: _typed(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_typed(entry) for entry in value[:1]]
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else "text"


def _around(text: str, other: str) -> str:
    """Return the text, from a few characters before where it differs from the other one."""
    pairs = enumerate(zip(text, other, strict=False))
    at = next((at for at, (one, two) in pairs if one != two), min(len(text), len(other)))
    cut = max(at - 20, 0)
    return ("…" if cut else "") + _shown(text[cut:])


def _shown(value: Any) -> str:
    return ABSENT if value is _NOTHING else orjson.dumps(value).decode()
