"""Scrubbing of sentences that others wrote: what an operator may read of them, without keys and without end. Pure.

For codex's own words and those of libraries, in the log, on `/healthz` and in `codex doctor`. What a client reads is
never made of them.
"""

from __future__ import annotations

import re

MOST = 600
"""Characters of a sentence that are kept."""

_HIDDEN = "[hidden]"
_ADDRESS = re.compile(
    r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#]*@)?([^\s?#'\"<>]*)(?:[?#][^\s'\"<>)]*)?", re.IGNORECASE
)
_SECRETS = re.compile(r"\b(?:sk|rt|sess)[-_][\w.-]{4,}|\beyJ[\w.-]{8,}|(?i:bearer)\s+\S+")
_NAMED = re.compile(
    r"((?:api[-_ ]?key|access[-_]?token|refresh[-_]?token|id[-_]?token|password|passwd|secret|authorization)"
    r"[\"']?\s*[=:]\s*[\"']?)(?:(?:basic|digest|negotiate)\s+)?[^\s\"',;]+",
    re.IGNORECASE,
)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def without_secrets(text: str) -> str:
    """Return the text with keys, tokens, and what addresses carry beside host and path, hidden."""
    text = _ADDRESS.sub(r"\1\2", text)
    return _NAMED.sub(rf"\g<1>{_HIDDEN}", _SECRETS.sub(_HIDDEN, text))


def one_line(text: str, most: int = MOST) -> str:
    """Return the text as one line of at most `most` characters, without secrets, colours and control characters."""
    # Cut before it is searched, generously: a sentence can be of any length.
    line = _UNSEEN.sub(" ", _COLOURS.sub("", text[: 8 * most])).strip()
    line = without_secrets(line)
    return line if len(line) <= most else f"{line[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
