"""Threads as they are when their turn is over, for tests of what is kept."""

from __future__ import annotations

from typing import Any

from app.backend.events import Event, RawItem, ResponseCompleted, TurnEnded, TurnStatus, Usage
from app.backend.request import TurnRequest
from app.backends.app_server.conversation import Asked, read
from app.backends.app_server.history import Load, history_budget
from app.backends.app_server.parse_events import Addressed, ThreadId, TurnId
from app.backends.app_server.thread import Terms, Thread, terms_of
from app.backends.app_server.tool_calls import ToolCalls
from app.backends.app_server.turn import Turn

USAGE = Usage(10, 4, 3, 1, 13)
DONE = TurnEnded(TurnStatus.COMPLETED)
TURN = TurnId("turn")


def terms(owner: str = "key", **request: Any) -> Terms:
    found, _ = terms_of(TurnRequest(**{"model": "m", "items": (), **request}), owner)
    return found


def begun(
    *items: Any,
    name: str = "t",
    offered: tuple[str, ...] = (),
    size: int = 0,
    owner: str = "key",
    **request: Any,
) -> Thread:
    """A thread that holds these items, and its turn that runs."""
    turn = Turn(ThreadId(name), 1, lambda _: None, has_tools=bool(offered))
    turn.begin(TURN)
    calls = ToolCalls(offered) if offered else None
    thread = Thread(turn, terms(owner, **request), calls=calls)
    hold(thread, read(items), size=size)
    thread.is_asked = True
    return thread


def hold(thread: Thread, asked: Asked, *, size: int = 0, is_exact: bool = True) -> None:
    load = Load((), size)
    thread.hold(asked, history_budget().reserve("key", size), load, is_exact=is_exact)


def hear(thread: Thread, *events: Event, turn_id: str = TURN) -> None:
    for event in events:
        thread.deliver(Addressed(thread.turn.thread_id, TurnId(turn_id), event))


def answered(*items: Any, answer: Any, usage: Usage = USAGE, **options: Any) -> Thread:
    """A thread whose turn is over, with this answer."""
    thread = begun(*items, **options)
    hear(thread, RawItem(answer), ResponseCompleted(usage), DONE)
    thread.read_answer()
    return thread


def waiting(*items: Any, calls: list[Any], **options: Any) -> Thread:
    """A thread whose turn waits for the results of these calls."""
    thread = begun(*items, offered=("look",), **options)
    hear(thread, *map(RawItem, calls), ResponseCompleted(USAGE))
    thread.read_answer()
    return thread
