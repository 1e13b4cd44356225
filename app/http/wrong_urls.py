"""URLs that nobody serves: what to tell a client that asked for one. Pure.

Most are a base URL that is set one step wrong, so the right URL can be named. Others belong to what this gateway does
not do, or to another vendor's API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

_SHOWN = 200
"""Characters of a path that are repeated, and that are looked at."""

_MOST_STEPS = 8
"""Steps of a path of ours, with room. What is longer is looked at from behind: too much is before it."""

_VERY_CLOSE, _CLOSE = 0.9, 0.8

_BASE = "The base URL of a client ends in /v1 here."

_NO_CONVERSATIONS = "A conversation goes on with 'previous_response_id'."

_NOT_CONVERSATIONS = re.compile(r"(?:/v1)*(/(?:embeddings|audio|images|moderations))(?=/|\Z)")
"""What OpenAI has and clients look for, but no model behind codex does."""

_OF_OPENAI = re.compile(
    r"(?:/v1)*(/(?:assistants|batches|containers|conversations|evals|files|fine_tuning|organization|realtime|threads"
    r"|uploads|vector_stores|videos))(?=/|\Z)"
)
_TOKENS = re.compile(r"/v1/responses/input_tokens/?\Z")
"""It stands where the id of a response does."""

_OF_GOOGLE = re.compile(r"/v1(?:alpha|beta\d*)?/models/[^/]*:")
_OF_OTHERS = (
    (_OF_GOOGLE, "Google's"),
    (re.compile(r"(?:/v1)*/(?:messages|complete)(?=/|\Z)|/anthropic/"), "Anthropic's"),
    (
        re.compile(
            r"/api/(?:chat|copy|create|delete|embed|generate|ps|pull|push|show|tags|version)\b"
        ),
        "Ollama's",
    ),
    (re.compile(r"/api/(?:v0|v1/chat\Z|extra)"), "another server's"),
    (re.compile(r"/v1(?:alpha|beta)"), "Google's"),
)


def advice_for(path: str, endpoints: Sequence[str], is_served: Callable[[str], bool]) -> str:
    """Return a sentence or two about a path without a route, empty if nothing is known that helps.

    `endpoints` are the paths on offer, `is_served` says whether a path has a route.
    """
    plain = "/" + "/".join(step for step in path[:_SHOWN].split("/") if step)
    if plain in ("/", "/v1"):
        return f"{_BASE} What is served: {', '.join(_of_v1(endpoints))}."
    if found := _NOT_CONVERSATIONS.match(plain):
        return (
            f"This gateway does not serve /v1{found[1]}: the models behind codex answer conversations only. "
            "Let your client use another provider for it."
        )
    right = None if _OF_GOOGLE.match(plain) else _right_url(path, plain, endpoints, is_served)
    if right is not None:
        return f"Did you mean {right}? {_BASE}"
    if found := _OF_OPENAI.match(plain):
        way = f" {_NO_CONVERSATIONS}" if found[1] == "/conversations" else ""
        return (
            f"This gateway does not serve /v1{found[1]}, only {', '.join(_of_v1(endpoints))}.{way}"
        )
    for pattern, whose in _OF_OTHERS:
        if pattern.match(plain):
            return (
                f"This gateway speaks OpenAI's API, not {whose}: "
                f"set your client to an OpenAI compatible server. {_BASE}"
            )
    cut_off = (f"{plain.lower()}/", f"/v1{plain.lower()}/")
    close = [path for path in endpoints if path.startswith(cut_off)] or get_close_matches(
        plain.lower(), endpoints, n=1, cutoff=_CLOSE
    )
    return f"Did you mean {close[0]}? {_BASE}" if close else ""


def advice_for_method(path: str) -> str:
    """Return a sentence about a path that has a route, but of another method; empty if nothing is known that helps."""
    if _TOKENS.match(path[:_SHOWN]):
        return (
            "This gateway has no such endpoint: codex cannot count tokens, and an estimate would pass for a count. "
            "Every answer has its 'usage'."
        )
    return ""


def _of_v1(endpoints: Sequence[str]) -> list[str]:
    return [path for path in endpoints if path.startswith("/v1/")]


def _right_url(
    path: str, plain: str, endpoints: Sequence[str], is_served: Callable[[str], bool]
) -> str | None:
    """Return the path that was meant, if it is misspelled, or has too much or too little before it."""
    if plain != path[:_SHOWN] and is_served(plain):
        return plain
    if close := get_close_matches(plain.lower(), endpoints, n=1, cutoff=_VERY_CLOSE):
        return close[0]
    steps = plain.split("/")[1:]
    for first in range(max(0, len(steps) - _MOST_STEPS), len(steps)):
        rest = "/".join(steps[first:])
        for candidate in (f"/v1/{rest}", f"/{rest}", f"/v1/{rest.lower()}", f"/{rest.lower()}"):
            if (
                candidate != plain
                and not candidate.startswith("/internal")
                and is_served(candidate)
            ):
                return candidate
    return None
