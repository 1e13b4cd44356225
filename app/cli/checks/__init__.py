"""Checks as `codex doctor` and `codex smoke` run them: a table of them, a result for each, lines for a person.

A check looks and does not repair; a result that is not ok says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Level(Enum):
    """Severity. Only FAIL keeps the service from working; SKIP was not tried."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a report. `remedy` is what to do, empty where nothing is; `run_checks` fills in the name."""

    name: str
    level: Level
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """One row of a table. `needs` are rows above it that must not have failed."""

    name: str
    run: Callable[[T], Result]
    needs: tuple[str, ...] = ()


def ok(sentence: str) -> Result:
    """Return that all is well."""
    return Result("", Level.OK, sentence)


def warn(sentence: str, remedy: str) -> Result:
    """Return that it works, but should be changed."""
    return Result("", Level.WARN, sentence, remedy)


def fail(sentence: str, remedy: str) -> Result:
    """Return that the service does not work like this."""
    return Result("", Level.FAIL, sentence, remedy)


def skip(sentence: str) -> Result:
    """Return that it was not tried, and why."""
    return Result("", Level.SKIP, sentence)


def run_checks(
    checks: Iterable[Check[T]], attempt: Callable[[Check[T]], Result]
) -> Iterator[Result]:
    """Yield the result of each as soon as it is known; one whose needs failed or were skipped is skipped, too."""
    missing: set[str] = set()
    for check in checks:
        lacks = [name for name in check.needs if name in missing]
        result = skip(f"Not tried: {lacks[0]} comes first.") if lacks else attempt(check)
        if result.level in (Level.FAIL, Level.SKIP):
            missing.add(check.name)
        yield replace(result, name=check.name)


def lines(head: str, sentence: str, remedy: str) -> list[str]:
    """Return one result for a person: what stands in front, the sentence, and the remedy on a line of its own."""
    first = f"{head}  {sentence}".rstrip()
    return [first, f"{'':{len(head)}}  -> {remedy}"] if remedy else [first]
