"""Default answer of the demo: a greeting that says that it is a demo, and how to leave it. Pure.

Any valid request gets an answer, whatever its last item is.
"""

import re
from typing import Any

from scripted_upstream.script import Message, Reasoning, Response

PACE_MS = 25
"""Milliseconds between two pieces of the answer: about as fast as a person reads."""

_QUOTE_LENGTH = 80
_PIECES = re.compile(r"\S{1,6}\s*|\s+")
_SUMMARY = "**Looking at the request**\n\nThis is the demo, so the answer is a scripted one."


def demo_response(request: dict[str, Any]) -> Response:
    """Return the built-in answer to a request that passed `refusals`."""
    answer = Message(deltas=pieces(_answer(last_user_text(request))))
    if not _wants_summary(request):
        return Response(items=(answer,), interval_ms=PACE_MS)
    thought = Reasoning(summary_deltas=pieces(_SUMMARY))
    return Response(items=(thought, answer), interval_ms=PACE_MS)


def pieces(text: str) -> tuple[str, ...]:
    """Cut text into pieces of words; joined they are the text again."""
    return tuple(_PIECES.findall(text))


def last_user_text(request: dict[str, Any]) -> str:
    """Return the text of the last user message on one line, or an empty string."""
    entries = request.get("input")
    if isinstance(entries, str):
        return _one_line(entries)
    for entry in reversed(entries if isinstance(entries, list) else []):
        if entry.get("role") == "user":
            return _one_line(_text(entry.get("content")))
    return ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "input_text")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _wants_summary(request: dict[str, Any]) -> bool:
    reasoning = request.get("reasoning") or {}
    return reasoning.get("summary") not in (None, "none")


def _answer(said: str) -> str:
    quote = said if len(said) <= _QUOTE_LENGTH else said[: _QUOTE_LENGTH - 1].rstrip() + "…"
    heard = f"You wrote: “{quote}”. " if quote else ""
    return (
        "Hello from the built-in demo upstream! "
        f"{heard}"
        "No model read that: this answer is scripted, but your request really travelled through "
        "codex app-server and back. To talk to a real model, log in with "
        "`flask --app wsgi codex login` and start the service again."
    )
