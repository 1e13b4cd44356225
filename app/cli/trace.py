"""`codex trace`: the last turns, or what one request was like, from the trace buffer on disk.

No running gateway is needed, only the right to read CODEX_HOME.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import click
import orjson

from app.cli.exit_codes import give_up
from app.cli.output import columns, facts, json_option, say
from app.observability import trace_files
from app.settings import load_settings

_APART = ("format", "calls", "events", "content")


@click.command("trace")
@click.argument("request_id", required=False)
@json_option
def trace(request_id: str | None, *, as_json: bool) -> None:
    """Show what the turns of a request were like; without REQUEST_ID, list the newest turns.

    REQUEST_ID is the X-Request-Id of the answer.
    """
    folder = trace_files.folder_of(load_settings().codex_home)
    traces = trace_files.read(folder)
    if request_id is None:
        found = list(map(trace_files.summary, traces))
        lines = table(found) if found else [f"There is no trace in {folder}."]
    elif found := trace_files.of_request(traces, request_id):
        lines = list(chain.from_iterable(["", *timeline(document)] for document in found))[1:]
    else:
        give_up(
            "There is no trace of this request. A busy gateway writes those of answers up to half a minute late; GET "
            "/internal/traces has them at once. To list those there are: .venv/bin/flask --app wsgi codex trace"
        )
    say(found, lines, as_json=as_json)


def table(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines that a person reads, newest first."""
    heading = ("AT", "REQUEST", "MODEL", "OUTCOME", "MS")
    names = ("at", "request_id", "model")
    rows = [
        (*(str(one[name]) for name in names), _outcome(one), _figure(one["duration_ms"]))
        for one in summaries
    ]
    return columns([heading, *rows])


def timeline(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that a person reads: what was asked and what came of it, then what happened, in order."""
    yield from facts({name: value for name, value in document.items() if name not in _APART})
    yield ""
    happened = [*map(_call, document["calls"]), *map(_event, document["events"])]
    happened.sort(key=lambda row: row[0])
    rows = [(f"{at:9.1f}", f"{took:>9}", *rest) for at, took, *rest in happened]
    heading = ("    AT MS", "  TOOK MS", "", "", "")
    yield from columns([heading, *rows])
    yield from _content(document.get("content") or {})


def _outcome(document: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (document["outcome"], document["error_code"])))


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def _call(call: Mapping[str, Any]) -> tuple[float, str, str, str, str]:
    sizes = f"{call['status']}, sent {call['sent_bytes']}, received {call['received_bytes']} bytes"
    return call["at_ms"], _figure(call["duration_ms"]), "call", call["method"], sizes


def _event(event: Mapping[str, Any]) -> tuple[float, str, str, str, str]:
    kind = "echo" if event.get("injected") else "event"
    name = " ".join(filter(None, (event["method"], event.get("item"))))
    took = _figure(event["over_ms"]) if event["count"] > 1 else ""
    return event["at_ms"], took, kind, name, f"{event['count']} x, {event['bytes']} bytes"


def _content(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was said, each entry on a line of its own; nothing of a trace without content."""
    for part in ("prompt", "tools", "reasoning", "answer", "calls"):
        said = content.get(part) or ""
        text = said if isinstance(said, str) else b"\n".join(map(orjson.dumps, said)).decode()
        if text:
            yield from ("", f"  {part}")
        for line in text.splitlines():
            # A model's words must not command the terminal.
            shown = (c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
            yield "    " + "".join(shown)
