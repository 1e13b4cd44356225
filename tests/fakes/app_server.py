"""A stand-in for `codex app-server`: a real process that speaks its JSON lines and follows a scenario.

    python tests/fakes/app_server.py '{"on": {…}, "journal": "/path"}'

`on` maps a method to what happens at each call of it, the last entry repeating; a method without an entry is answered
as codex would. What happens is a list of steps:

    {"result": …}                    answer the call
    {"error": {"code", "message"}}   refuse the call
    {"emit": {"method", "params"}}   send a notification
    {"ask": {"id", "method", …}}     send a request of our own
    {"line": "text"}                 write any line, or half of one
    {"standard": true}               do what a method without an entry does
    {"exit": 3}                      leave at once
    {"close_stdout": true}           hang up and live on

Inside, the strings "$thread" and "$turn" stand for the thread of the call and its turn. Every line that arrives is
appended to the journal. Standard library only, since the process starts isolated.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from typing import Any

MODEL = {
    "model": "model-a",
    "supportedReasoningEfforts": [{"reasoningEffort": "low"}, {"reasoningEffort": "high"}],
    "defaultReasoningEffort": "low",
}


def completed(status: str = "completed", **turn: Any) -> dict[str, Any]:
    """Return the step that ends the turn."""
    params = {"threadId": "$thread", "turn": {"id": "$turn", "status": status, **turn}}
    return {"emit": {"method": "turn/completed", "params": params}}


def delta(text: str) -> dict[str, Any]:
    """Return the step that says a piece of the answer."""
    params = {"threadId": "$thread", "turnId": "$turn", "itemId": "item-1", "delta": text}
    return {"emit": {"method": "item/agentMessage/delta", "params": params}}


STANDARD: dict[str, list[dict[str, Any]]] = {
    "initialize": [{"result": {"userAgent": "fake/1.2.3"}}],
    "thread/start": [{"result": {"thread": {"id": "$thread"}}}],
    "thread/inject_items": [{"result": {}}],
    "turn/start": [{"result": {"turn": {"id": "$turn"}}}],
    "turn/interrupt": [{"result": {}}, completed("interrupted")],
    "thread/loaded/list": [{"result": {"data": []}}],
    "thread/unsubscribe": [{"result": {"status": "unsubscribed"}}],
}


UNKNOWN: list[dict[str, Any]] = [{"error": {"code": -32600, "message": "unknown variant"}}]


class AppServer:
    """One conversation."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self._on: dict[str, list[list[dict[str, Any]]]] = scenario.get("on", {})
        self._journal = open(scenario["journal"], "a", encoding="utf-8")  # noqa: SIM115, PTH123
        self._calls: dict[str, int] = {}
        self._threads = itertools.count(1)

    def run(self) -> None:
        """Serve until EOF."""
        for line in sys.stdin:
            self._journal.write(line)
            self._journal.flush()
            self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None or "id" not in message:
            return
        number = self._calls[method] = self._calls.get(method, 0) + 1
        calls = self._on.get(method)
        steps = calls[min(number, len(calls)) - 1] if calls else [{"standard": True}]
        params = message.get("params") or {}
        thread = params.get("threadId")
        if method == "thread/start":
            thread = f"thread-{next(self._threads)}"
        self._follow(steps, message, str(thread))

    def _follow(self, steps: list[dict[str, Any]], message: dict[str, Any], thread: str) -> None:
        for step in steps:
            ((kind, value),) = step.items()
            if kind == "standard":
                self._follow(standard(message), message, thread)
            elif kind == "exit":
                os._exit(value)
            elif kind == "close_stdout":
                # stdin and stdout are two names of one socket: half of it is closed, not a descriptor.
                sys.stdout.flush()
                half_close(1)
            elif kind == "line":
                write(value)
            else:
                said = named(spoken(kind, value, message["id"]), thread)
                write(json.dumps(said, separators=(",", ":")) + "\n")


def spoken(kind: str, value: Any, call_id: Any) -> Any:
    """Return the message of a step."""
    return {"id": call_id, kind: value} if kind in {"result", "error"} else value


def standard(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what codex does; its models come on two pages."""
    if message["method"] != "model/list":
        return STANDARD.get(message["method"], UNKNOWN)
    if (message.get("params") or {}).get("cursor") is None:
        return [{"result": {"data": [MODEL], "nextCursor": "page-2"}}]
    return [{"result": {"data": [{**MODEL, "model": "model-b"}], "nextCursor": None}}]


def named(value: Any, thread: str) -> Any:
    """Put the names of thread and turn where they are meant."""
    if isinstance(value, dict):
        return {name: named(member, thread) for name, member in value.items()}
    if isinstance(value, list):
        return [named(member, thread) for member in value]
    return (
        {"$thread": thread, "$turn": f"turn-of-{thread}"}.get(value, value)
        if isinstance(value, str)
        else value
    )


def write(text: str) -> None:
    """Say it, now."""
    sys.stdout.write(text)
    sys.stdout.flush()


def half_close(descriptor: int) -> None:
    """End our direction of the socket."""
    import socket  # noqa: PLC0415  (slow to load, and seldom needed)

    with socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    AppServer(json.loads(sys.argv[1])).run()
