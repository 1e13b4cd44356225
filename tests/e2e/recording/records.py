"""Lines of the log: the one of each request in full, and of every event its component, its levels and its fields."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.e2e.recording.volatile import Names

_ALWAYS = {"timestamp", "worker_pid"}
_TIMES = {"queue_ms", "ttft_ms", "duration_ms"}
_BY_ACCIDENT = {"child_recycled"}
"""Events of a child that is killed which depend on what is seen first: the end of its pipe, or its own."""

_SENTENCE = (
    (re.compile(r"(?<=pid: )\d+|(?<=\()\d+(?=\)$)"), "<pid>"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "<port>"),
    (re.compile(r"(?<=gunicorn )\d+\.\d+\.\d+"), "<version>"),
)
"""What varies in gunicorn's own sentences."""


def line_of(log: list[dict[str, Any]], request_id: str) -> dict[str, Any] | None:
    """Return the canonical line of a request."""
    found = [e for e in log if e["event"] == "request" and e.get("request_id") == request_id]
    if len(found) > 1:
        raise AssertionError(f"more than one line of {request_id}: {found}")
    return found[0] if found else None


def describe_line(line: dict[str, Any] | None, size: int, names: Names) -> str | None:
    """Return what is recorded of a request's line, in its order; `size` is that of the body that the client got."""
    if line is None:
        return None
    shown = {name: value for name, value in line.items() if name not in _ALWAYS}
    shown |= dict.fromkeys(_TIMES & shown.keys(), "<ms>")
    if shown.get("response_bytes") == size:
        shown["response_bytes"] = "<length of the body>"
    return names.hide(json.dumps(shown))


def describe_events(log: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the events by name: who speaks, how loudly, and which sets of fields there are."""
    events: dict[str, dict[str, set[Any]]] = {}
    for entry in log:
        if entry["event"] in _BY_ACCIDENT:
            continue
        event = events.setdefault(
            _event_of(entry), {"components": set(), "levels": set(), "fields": set()}
        )
        event["components"].add(entry["component"])
        event["levels"].add(entry["level"])
        if entry["event"] != "request":  # each request has its line in full
            event["fields"].add(" ".join(sorted(entry.keys() - _EVERY_LINE)))
    return {
        name: {
            "component": " ".join(sorted(event["components"])),
            "level": " ".join(sorted(event["levels"])),
            "fields": sorted(event["fields"]),
        }
        for name, event in events.items()
    }


_EVERY_LINE = {"timestamp", "level", "component", "event"}


def _event_of(entry: dict[str, Any]) -> str:
    name: str = entry["event"]
    if entry["component"] == "gunicorn":
        for pattern, kind in _SENTENCE:
            name = pattern.sub(kind, name)
    return name
