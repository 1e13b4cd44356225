"""Default answer of the demo: a greeting that says that it is a demo, and how to leave it. Pure.

Any valid request gets an answer, whatever its last item is. `simple_answer` puts calls and JSON in its place.
"""

import re
from typing import Any

from scripted_upstream.script import Item, Message, Reasoning

NOBODY_READ_IT = "(The built-in demo upstream wrote this; no model read it.)"

_QUOTE_LENGTH = 80
_PIECES = re.compile(r"\S{1,6}\s*|\s+")
_SUMMARY = "**Looking at the request**\n\nThis is the demo, so the answer is a scripted one."


def thoughts(request: dict[str, Any]) -> tuple[Item, ...]:
    """Return a summary of reasoning, if the request asks for one."""
    reasoning = request.get("reasoning") or {}
    if reasoning.get("summary") in (None, "none"):
        return ()
    return (Reasoning(summary_deltas=pieces(_SUMMARY)),)


def greeting(request: dict[str, Any]) -> str:
    """Return the words for a request that asks for neither a call nor JSON; in ASCII but for what they quote.

    A terminal or a pipe may have no other characters.
    """
    said = last_user_text(request)
    heard = f'You wrote: "{shortened(said, _QUOTE_LENGTH)}". ' if said else ""
    return (
        "Hello from the built-in demo upstream! "
        f"{heard}{_seen(request)}"
        "No model read that: this answer is scripted, but your request really travelled through "
        "codex app-server and back. To talk to a real model, log in with "
        "`.venv/bin/flask --app wsgi codex login` and start the service again."
    )


def message(text: str) -> Message:
    """Return the text as a message that comes in small pieces."""
    return Message(deltas=pieces(text))


def pieces(text: str) -> tuple[str, ...]:
    """Cut text into pieces of words; joined they are the text again."""
    return tuple(_PIECES.findall(text))


def shortened(text: str, length: int) -> str:
    """Return at most `length` characters of the text, in the end a mark where some are missing."""
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."


def last_user_text(request: dict[str, Any]) -> str:
    """Return the text of the last user message on one line, or an empty string."""
    content = _last_user_content(request)
    if isinstance(content, str):
        return _one_line(content)
    return _one_line(" ".join(part["text"] for part in content if part["type"] == "input_text"))


def _seen(request: dict[str, Any]) -> str:
    content = _last_user_content(request)
    images = 0
    if not isinstance(content, str):
        images = sum(part["type"] == "input_image" for part in content)
    if not images:
        return ""
    return "An image came with it. " if images == 1 else f"{images} images came with it. "


def _last_user_content(request: dict[str, Any]) -> Any:
    """Return a text, or a list of parts that have a type."""
    entries = request.get("input")
    if isinstance(entries, str):
        return entries
    for entry in reversed(entries if isinstance(entries, list) else []):
        if entry.get("role") == "user":
            content = entry.get("content")
            return content if isinstance(content, str | list) else ""
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
