"""What no two runs have in common, and the names in angle brackets that take its place.

Each pattern asks for the exact form: what has another form than before stays, and is found as a difference.
"""

from __future__ import annotations

import re
from functools import partial

_IDS = (
    ("completion", re.compile(r"(?<=chatcmpl-)[A-Za-z0-9_-]{30}(?![A-Za-z0-9_-])")),
    ("completion", re.compile(r"(?<=\bcmpl-)[A-Za-z0-9_-]{30}(?![A-Za-z0-9_-])")),
    ("request", re.compile(r"(?<=\breq_)[0-9a-f]{32}\b")),
    ("uuid", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")),
)
"""Ids, numbered by their first appearance: the same id has the same number wherever it stands in one exchange."""

_MS = "ttft|duration|handshake|at|over|first_event|queue"
_VALUES = (
    ("time", re.compile(r'("created":)\d{10}\b')),
    ("time", re.compile(r"()\b20(?!99)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|\+00:00)")),
    ("ms", re.compile(rf'("(?:{_MS})_ms":)-?\d+(?:\.\d+)?')),
    ("threads", re.compile(r'("warm":)\d+')),
    # Of several choices, the one that ends first may not know yet what the others' prompts cost.
    ("tokens", re.compile(r'("continued":(?:true|false),"cached_tokens":)(?:null|\d+)')),
    ("pid", re.compile(r'("(?:worker_)?pid":)\d+')),
    ("bytes", re.compile(r'("(?:(?:sent|received)_)?bytes":)\d+')),
    ("counters", re.compile(r'("counters":)\{[^{}]*\}')),
    ("version", re.compile(r"(\bfp_codex_)\d+_\d+_\d+")),
    ("version", re.compile(r'("gateway":")\d+\.\d+\.\d+(?=")')),
    ("version", re.compile(r'("user_agent":"codex_completions_api/)[\d.]+(?= )')),
    ("version", re.compile(r"(\(codex_completions_api; )[\d.]+(?=\))")),
    ("system", re.compile(r'("user_agent":"codex_completions_api/<version> )\([^)]+\)')),
    ("duration", re.compile(r"(try again in )[0-9hms.]*[0-9]m?s")),
)
"""Values that differ each time; what stands before them stays."""


_UNQUOTED = re.compile(r"(?<=:)<[a-z ]+>(?=[,}\]])")


def quoted(text: str) -> str:
    """Return JSON that can be read again: a name that stands for a number has no quotes."""
    return _UNQUOTED.sub(r'"\g<0>"', text)


class Names:
    """Names for the ids of one exchange, its answer and its log lines together."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def hide(self, text: str) -> str:
        """Return the text with names in place of what is volatile."""
        for kind, pattern in _IDS:
            text = pattern.sub(partial(self._name, kind), text)
        for kind, pattern in _VALUES:
            text = pattern.sub(rf"\g<1><{kind}>", text)
        return text

    def _name(self, kind: str, found: re.Match[str]) -> str:
        value = found[0]
        if value not in self._known:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[value] = f"<{kind} {self._counts[kind]}>"
        return self._known[value]
