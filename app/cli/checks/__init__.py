"""What `codex doctor` checks, and how a check answers.

A check is a function of plain values (a version, a path, a limit) that returns a `Result`. It looks and does not
repair; a `Result` that is not ok says what to do. Which checks there are and what they are given stands in
`app.cli.doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is. Only FAIL keeps the service from working; SKIP was not tried."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the doctor's. `remedy` is what to do, empty where nothing is."""

    name: str
    level: Level
    sentence: str
    remedy: str = ""


def ok(name: str, sentence: str) -> Result:
    """Return that all is well."""
    return Result(name, Level.OK, sentence)


def warn(name: str, sentence: str, remedy: str) -> Result:
    """Return that it works, but should be changed."""
    return Result(name, Level.WARN, sentence, remedy)


def fail(name: str, sentence: str, remedy: str) -> Result:
    """Return that the service does not work like this."""
    return Result(name, Level.FAIL, sentence, remedy)


def skip(name: str, sentence: str) -> Result:
    """Return that it was not tried, and why."""
    return Result(name, Level.SKIP, sentence)
