"""Comparison of two answers to one request: every difference, by its place. Pure.

Models answer in other words each time, so texts are compared by their form. `Rules(words=True)` compares what they say,
too, and how many tokens and pieces that was: for upstreams that answer every time alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from app.cli.parity_streams import Stream
from app.cli.parity_values import ABSENT, Difference, Kind, Rules, Walk

NEXT = 4
"""How many entries of an order are shown from where it differs."""

HEADERS = ("content-type", "x-should-retry", "retry-after", "openai-version")
"""Headers that are compared; the value of `retry-after` is a matter of time."""

_TEXT_PIECES = frozenset({"content", "text", "response.output_text.delta"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one side answered. `payload` is JSON data, a `Stream`, or a text; `failure` is why there is no answer.

    `first_ms` is the time to the headers, which come with a stream's first frame. `upstream` has the bodies that the
    upstream was sent for it; None where nobody recorded them. `refused` is set where the answer says nothing of what
    was asked (a wrong key, a limit, a failure of the server's): two of these are no comparison.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Any = None
    first_ms: int = 0
    ms: int = 0
    upstream: Sequence[Any] | None = None
    failure: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A difference, the conversation and the step (from 0) that show it, and in how many of the runs it was there."""

    conversation: str
    step: int
    difference: Difference
    runs: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one conversation. Times are medians over the runs, of all its steps; 0 where there is no answer.

    `not_compared` says why, where neither side answered.
    """

    conversation: str
    found: tuple[Found, ...]
    first_ms: tuple[float, float]
    total_ms: tuple[float, float]
    not_compared: str = ""


def differences(a: Exchange, b: Exchange, rules: Rules) -> Iterator[Difference]:
    """Yield every difference. Where the status differs, nothing else is compared but what the upstream was sent."""
    if outcome(a) != outcome(b):
        yield Difference(Kind.STATUS, "status", outcome(a), outcome(b))
    elif not a.failure:
        yield from _headers(a.headers, b.headers)
        yield from _payloads(a.payload, b.payload, rules)
    if a.upstream is not None and b.upstream is not None:
        yield from Walk(Rules(words=True, tolerance=0), is_upstream=True).lists(
            a.upstream, b.upstream, "upstream"
        )


def outcome(exchange: Exchange) -> str:
    """Return the status, with the code of an error; two sides that do not answer are alike whatever they say of it."""
    if exchange.failure:
        return "no answer"
    error = exchange.payload.get("error") if isinstance(exchange.payload, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return f"{exchange.status} {code}" if code else str(exchange.status)


def _headers(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Difference]:
    for name in HEADERS:
        have, has = a.get(name), b.get(name)
        is_time = name == "retry-after" and have is not None and has is not None
        if have != has and not is_time:
            yield Difference(Kind.HEADER, f"header {name}", have or ABSENT, has or ABSENT)


def _payloads(a: Any, b: Any, rules: Rules) -> Iterator[Difference]:
    walk = Walk(rules)
    if isinstance(a, Stream) and isinstance(b, Stream):
        yield from _orders(a.order, b.order)
        yield from _pieces(a.pieces, b.pieces, rules)
        for kind in sorted(a.members.keys() & b.members.keys()):
            if a.members[kind] != b.members[kind]:
                only = a.members[kind] - b.members[kind], b.members[kind] - a.members[kind]
                shown = [", ".join(sorted(names)) or "(no more)" for names in only]
                yield Difference(Kind.SHAPE, f"stream members of {kind}", *shown)
        yield from walk.values(a.joined, b.joined, "")
    elif isinstance(a, Stream) or isinstance(b, Stream):
        shown = ["a stream" if isinstance(each, Stream) else "a whole answer" for each in (a, b)]
        yield Difference(Kind.SHAPE, "body", *shown)
    else:
        yield from walk.values(a, b, "")


def _orders(a: Mapping[str, list[str]], b: Mapping[str, list[str]]) -> Iterator[Difference]:
    for where in sorted(a.keys() | b.keys()):
        pairs = zip_longest(a.get(where, ()), b.get(where, ()))
        at = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
        if at is not None:
            shown = [" > ".join(each.get(where, [])[at : at + NEXT]) or ABSENT for each in (a, b)]
            yield Difference(Kind.ORDER, f"stream order of {where}, from {at}", *shown)


def _pieces(a: Mapping[str, int], b: Mapping[str, int], rules: Rules) -> Iterator[Difference]:
    """Compare how many deltas there were of each kind; without words only whether a text comes in one or in several."""
    for kind in sorted(a.keys() & b.keys()):
        is_other = (a[kind] > 1) != (b[kind] > 1) and kind in _TEXT_PIECES
        if is_other or (rules.words and a[kind] != b[kind]):
            yield Difference(Kind.PIECES, f"stream pieces of {kind}", str(a[kind]), str(b[kind]))
