"""Classes of stderr lines of a child, which may be logged where the lines may not. Pure.

Raw stderr is never logged: it can quote prompts, URLs and keys. Each line is matched against a short table, and only
its category and its length go on.
"""

from __future__ import annotations

import re
from typing import NamedTuple


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


CATEGORIES: frozenset[str] = frozenset(
    {category.name for _, category in _TABLE} | {UNCLASSIFIED.name}
)
