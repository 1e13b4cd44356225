"""Agent loops by hand on `codex app-server`: on one thread that is kept, or on a cold one for each round."""

from __future__ import annotations

import time
from typing import Any

from gevent import sleep
from gevent.pool import Group

from app.api.chat_completions.messages import to_items
from app.backend.request import TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.parse_events import ThreadId, TurnId
from bench import agent_loop
from bench.agent_loop import Step
from bench.codex_pipe import Pipe, Turn, over_websockets
from bench.jobs import AnswerError

_TOOL = {
    "type": "function",
    "name": agent_loop.TOOL_NAME,
    "description": agent_loop.TOOL_DESCRIPTION,
    "inputSchema": agent_loop.TOOL_PARAMETERS,
}
_INTERRUPTS = 20
_PAUSE_S = 0.1


def _begin(
    pipe: Pipe, model: str, messages: list[dict[str, Any]], turn: Turn
) -> tuple[ThreadId, TurnId]:
    """Start a thread with the tool, give it the messages, begin a turn. Blocks."""
    request = TurnRequest(model, to_items(messages), tools=(_TOOL,))
    # Raw events tell of a call as the model wrote it, and of the tokens before a turn is over.
    params = protocol.thread_start_params(request, over_websocket=over_websockets())
    thread_id = protocol.parse_thread_id(pipe.call("thread/start", params))
    pipe.call("thread/inject_items", protocol.inject_items_params(thread_id, request.items))
    pipe.turns[thread_id] = turn
    started = pipe.call("turn/start", protocol.turn_start_params(thread_id, request))
    return thread_id, protocol.parse_turn_id(started)


def _step(turn: Turn, asked: float) -> Step:
    """Wait for the response and return it. Blocks; raises `AnswerError`."""
    turn.answered.wait()
    if turn.status not in ("", "completed"):
        raise AnswerError(f"the turn ended as {turn.status}")
    call = turn.call
    return Step(
        asked=asked,
        first=turn.first,
        ended=turn.ended,
        text="".join(turn.texts),
        call=None if call is None else (call["call_id"], call["name"], call["arguments"]),
        input_tokens=turn.usage.get("inputTokens", 0),
        cached_tokens=turn.usage.get("cachedInputTokens", 0),
    )


class KeptConversation:
    """The whole loop in one turn of one thread: the results are the answers to the child's own requests."""

    def __init__(self, pipe: Pipe, model: str, marker: str) -> None:
        self._pipe = pipe
        self._model = model
        self._marker = marker
        self._turn = Turn()
        self._thread_id: ThreadId | None = None

    def next(self, result: str | None) -> Step:
        """Answer the call that waits, at first begin the turn."""
        asked, turn, pipe = time.perf_counter(), self._turn, self._pipe
        if result is None:
            messages = agent_loop.opening(self._marker)
            self._thread_id, _ = _begin(pipe, self._model, messages, turn)
        elif turn.request_id is not None:
            request_id = turn.request_id
            turn.next_response()
            content = [{"type": "inputText", "text": result}]
            pipe.answer(request_id, {"contentItems": content, "success": True})
        return _step(turn, asked)

    def close(self) -> None:
        """Let the thread go once its turn is over."""
        if self._thread_id is not None:
            self._turn.over.wait(1)
            self._pipe.turns.pop(self._thread_id, None)
            self._pipe.send("thread/unsubscribe", protocol.unsubscribe_params(self._thread_id))


class ColdConversation:
    """A new thread for each round, which is given the whole conversation; a turn with a call is interrupted."""

    def __init__(self, pipe: Pipe, model: str, marker: str) -> None:
        self._pipe = pipe
        self._model = model
        self._messages = agent_loop.opening(marker)
        self._last: Step | None = None
        self._ending = Group()

    def next(self, result: str | None) -> Step:
        """Ask with everything that was said so far."""
        if self._last is not None and result is not None:
            self._messages += agent_loop.chat_messages(self._last, result)
        asked, turn = time.perf_counter(), Turn()
        thread_id, turn_id = _begin(self._pipe, self._model, self._messages, turn)
        try:
            self._last = step = _step(turn, asked)
        finally:
            self._ending.spawn(self._end, thread_id, turn_id, turn)
        return step

    def _end(self, thread_id: ThreadId, turn_id: TurnId, turn: Turn) -> None:
        """Interrupt the turn, which waits for a result; let the thread go. An early request is refused."""
        attempts = _INTERRUPTS if turn.call is not None else 0
        while attempts and not turn.over.is_set():
            try:
                self._pipe.call("turn/interrupt", protocol.interrupt_params(thread_id, turn_id))
                break
            except AnswerError:
                attempts -= 1
                sleep(_PAUSE_S)
        turn.over.wait(1)
        self._pipe.turns.pop(thread_id, None)
        self._pipe.send("thread/unsubscribe", protocol.unsubscribe_params(thread_id))

    def close(self) -> None:
        """Wait until every thread is let go."""
        self._ending.join()
