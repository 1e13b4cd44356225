"""A connection with a scripted child behind it, and what that child heard."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.backend.admission import Slot
from app.backend.events import Event
from app.backend.lease import Lease
from app.backend.protocols import Pace
from app.backend.request import TurnRequest
from app.backends.app_server.connection import Connection
from app.backends.app_server.rpc_errors import mapped
from app.backends.app_server.turn import Turn
from app.process.child import Child, ChildSpec, StopLadder
from tests.fakes import app_server
from tests.fakes.app_server import completed
from tests.fakes.growing_file import whole_lines
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, outcome

PATIENT = Pace(first_s=DEADLINE_S, total_s=DEADLINE_S, commit_s=DEADLINE_S, tick_s=DEADLINE_S)
LADDER = StopLadder(DEADLINE_S, DEADLINE_S, DEADLINE_S)
SHORT_S = 0.1
REQUEST = TurnRequest(
    "model-a", ({"type": "message", "role": "user", "content": []},), effort="high"
)
TOOL = {"type": "function", "name": "f", "description": "", "inputSchema": {"type": "object"}}
WITH_TOOLS = replace(REQUEST, tools=(TOOL,))
NOTHING_TO_INTERRUPT = {"error": {"code": -32600, "message": "no active turn to interrupt"}}
OVERLOADED = {"error": {"code": -32001, "message": "Server overloaded; retry later."}}
STANDARD = {"standard": True}
INTERRUPTED = completed("interrupted")


class Stage:
    """A generation, the process behind it, and what that process heard."""

    def __init__(
        self, folder: Path, on: dict[str, Any], rpc_timeout_s: float, parked_s: float = DEADLINE_S
    ) -> None:
        self._journal = folder / "journal.jsonl"
        self._journal.touch()
        scenario = json.dumps({"on": on, "journal": str(self._journal)})
        argv = (sys.executable, "-I", "-S", str(app_server.__file__), scenario)
        self.child = Child(ChildSpec("fake", argv, {}, folder))
        self.lost: list[Connection] = []
        self.given_back = 0
        self.generation = Connection(
            7,
            self.child,
            rpc_timeout_s=rpc_timeout_s,
            on_lost=self.lost.append,
            parked_s=parked_s,
        )

    def shake_hands(self, silence_log: Callable[[], None] = lambda: None) -> Connection:
        with deadline():
            self.generation.shake_hands("9.9.9", DEADLINE_S, silence_log)
        return self.generation

    def begin(self, request: TurnRequest = REQUEST) -> Turn:
        with deadline():
            lease = Lease(Slot(self._give_back))
            turn = begin(self.generation, request, lease)
            lease.commit()
            return turn

    def begin_in_vain(self, request: TurnRequest = REQUEST) -> Any:
        return outcome(self.begin, request)

    def _give_back(self) -> None:
        self.given_back += 1

    def heard(self, method: str | None = None) -> list[Any]:
        """Every line that arrived, or the params of those with this method."""
        messages = [json.loads(line) for line in whole_lines(self._journal)]
        if method is None:
            return messages
        return [one.get("params") for one in messages if one.get("method") == method]

    def await_heard(self, method: str, count: int = 1) -> list[Any]:
        eventually(lambda: len(self.heard(method)) >= count, lambda: str(self.heard()))
        found = self.heard(method)
        assert len(found) == count
        return found

    def await_unsubscribed(self, count: int = 1) -> None:
        self.await_heard("thread/unsubscribe", count)
        eventually(lambda: len(self.generation.threads) == 0)

    def end(self) -> None:
        with deadline():
            self.child.stop(LADDER)
            self.generation.detach()
            self.child.close()
        assert len(self.generation.threads) == 0


def begin(connection: Connection, request: TurnRequest, lease: Lease) -> Turn:
    """Begin a turn as the backend does: the channel's errors are the gateway's from there on."""
    with mapped():
        return connection.threads.begin(request, lease)


Make = Callable[..., Stage]


def follow(turn: Turn) -> list[Event]:
    with deadline():
        return [event for batch in turn.follow(PATIENT) for event in batch]


def tool_call(call_id: str, thread: Any = "$thread") -> dict[str, Any]:
    params = {
        "threadId": thread,
        "turnId": "$turn",
        "callId": call_id,
        "namespace": None,
        "tool": "f",
        "arguments": {},
    }
    return {"ask": {"id": f"ask {call_id}", "method": "item/tool/call", "params": params}}


def raw_call(call_id: str) -> dict[str, Any]:
    item = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": call_id}
    params = {"threadId": "$thread", "turnId": "$turn", "item": item}
    return {"emit": {"method": "rawResponseItem/completed", "params": params}}


RESPONSE = {
    "emit": {
        "method": "rawResponse/completed",
        "params": {"threadId": "$thread", "turnId": "$turn", "usage": None},
    }
}
