"""Differences between two recordings, each with its place; members of JSON inside of texts are places, too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Any

from tests.e2e.recording.volatile import quoted

_ABSENT = "(absent)"

_SHOWN = 200
"""Characters of a long text that a line shows, around the place where it begins to differ."""


@dataclass(frozen=True)
class Difference:
    """One place at which two recordings differ."""

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        start = max(0, _common(self.before, self.now) - _SHOWN // 2)
        return f"{self.path}: {_show(self.before, start)} -> {_show(self.now, start)}"


def differences(before: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """Yield every place at which the two differ; a path is `requests > open > chat: stream > status`."""
    if isinstance(before, dict) and isinstance(now, dict):
        yield from _members(before, now, path)
    elif isinstance(before, list) and isinstance(now, list):
        yield from _members(dict(enumerate(before)), dict(enumerate(now)), path)
    elif before != now or isinstance(before, bool) != isinstance(now, bool):
        parsed = _parse(before), _parse(now)
        if None in parsed:
            yield Difference(path, before, now)
            return
        inside = list(differences(*parsed, path))
        # The same members in another order, or other spaces between them: that is seen in the text alone.
        yield from inside or [Difference(path, before, now)]


def unexplained(found: list[Difference], changed: Mapping[str, str]) -> list[str]:
    """Return a line for each difference that no pattern of `changed` names, and for each pattern without one."""
    told = [
        str(each) for each in found if not any(fnmatchcase(each.path, name) for name in changed)
    ]
    idle = [name for name in changed if not any(fnmatchcase(each.path, name) for each in found)]
    return told + [f"{name}: is said to have changed, and has not" for name in idle]


def _members(before: dict[Any, Any], now: dict[Any, Any], path: str) -> Iterator[Difference]:
    for name in [*before, *(name for name in now if name not in before)]:
        place = f"{path} > {name}" if path else str(name)
        if name in before and name in now:
            yield from differences(before[name], now[name], place)
        else:
            yield Difference(place, before.get(name, _ABSENT), now.get(name, _ABSENT))


def _parse(text: Any) -> Any:
    """Return the object or array in a body or a frame, or None."""
    if not isinstance(text, str):
        return None
    try:
        read = json.loads(quoted(text.removeprefix("data: ")))
    except ValueError:
        return None
    return read if isinstance(read, dict | list) else None


def _common(before: Any, now: Any) -> int:
    """Return how many characters two long texts have in common at their beginning; 0 for anything else."""
    if not (isinstance(before, str) and isinstance(now, str) and len(before) > _SHOWN):
        return 0
    pairs = zip(before, now, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _show(value: Any, start: int) -> str:
    """Return a value, of a long text only the piece from `start` on."""
    if value == _ABSENT:
        return _ABSENT
    if isinstance(value, str) and len(value) > _SHOWN:
        value = ("…" if start else "") + value[start : start + _SHOWN] + "…"
    return json.dumps(value, ensure_ascii=False)
