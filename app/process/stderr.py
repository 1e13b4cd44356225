"""Classes of stderr lines of a child, which may be logged where the lines may not. Pure.

Raw stderr is never logged: it can quote prompts, URLs and keys. Each line is matched against a short table, and only
its category and its length go on. The one exception is a child that never shook hands: it has been told nothing that
it could quote, and what it says is the only reason there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from app.scrub import one_line


class Category(NamedTuple):
    """A class of lines: `level` is the name of a log level."""

    name: str
    level: str


UNCLASSIFIED = Category("unclassified", "debug")

_TABLE: tuple[tuple[re.Pattern[str], Category], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), Category(name, level))
    for pattern, name, level in (
        (r"no space left|disk (is )?full|ENOSPC", "disk_full", "error"),
        (r"read-only file system|permission denied|EACCES", "not_writable", "error"),
        (r"\bpanicked at\b|stack backtrace", "panic", "error"),
        (r"too many open files|EMFILE", "descriptors_exhausted", "error"),
        (
            r"unknown (field|variant|configuration)|error loading config|TOML",
            "configuration",
            "warning",
        ),
        (r"bubblewrap|bwrap|sandbox", "sandbox_unavailable", "debug"),
        (r"PATH aliases", "path_aliases", "debug"),
        # Of `codex proto`, at its start where it can start no process, and at its end.
        (r"Cannot invoke 'uname|agent loop died unexpectedly", "proto_routine", "debug"),
        (r"sqlite|database", "database", "warning"),
        (r"\bERROR\b|\berror\b", "error", "warning"),
        (r"\bWARN(ING)?\b", "warning", "info"),
    )
)


def classify(line: str) -> Category:
    """Return the first category whose pattern is found in `line`."""
    for pattern, category in _TABLE:
        if pattern.search(line):
            return category
    return UNCLASSIFIED


_AT_EVERY_START = frozenset({"sandbox_unavailable", "path_aliases", "proto_routine"})
_STACK = re.compile(r"^\s*\d+: |stack backtrace|RUST_BACKTRACE", re.IGNORECASE)


def last_words(lines: Iterable[str]) -> str:
    """Return what a child that could not start said about it, as one line without secrets; empty if nothing."""
    said = [
        line
        for line in lines
        if line.strip() and not _STACK.search(line) and classify(line).name not in _AT_EVERY_START
    ]
    return one_line(" ".join(said[-_WORDS:]))


_WORDS = 4
"""Lines that are kept of the last words: the reason comes last."""

CATEGORIES: frozenset[str] = frozenset(
    {category.name for _, category in _TABLE} | {UNCLASSIFIED.name}
)
