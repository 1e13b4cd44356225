"""Requests of the child: declined at once, except for calls of a client's own tools, which wait.

Runs in the channel's reader: nothing here blocks.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from gevent.pool import Group

from app.backends.app_server.parse_events import ThreadId
from app.backends.app_server.server_request_policy import TOOL_CALL, Refusal, answer_to
from app.backends.app_server.thread import Thread
from app.backends.app_server.tool_calls import ToolCalls
from app.backends.app_server.turn import Turn
from app.rpc.channel import Channel
from app.rpc.messages import Request

log = logging.getLogger("codex_api.codex")

PARKED_S = 30.0
"""How long a call of a client's tool waits for its response to be whole. codex tells that a response broke off only
once its calls are answered; without this the turn would hang until its deadline."""


class ServerRequests:
    """Handler of the requests of one child. `thread_of` finds a thread that is loaded."""

    def __init__(
        self,
        thread_of: Callable[[ThreadId], Thread | None],
        greenlets: Group,
        counters: Counter[str],
        parked_s: float,
    ) -> None:
        self._thread_of = thread_of
        self._greenlets = greenlets
        self._counters = counters
        self._parked_s = parked_s

    def handle(self, request: Request, channel: Channel) -> None:
        """Answer one request, now or later. Does not block."""
        self._counters["server_request"] += 1
        if request.method == TOOL_CALL and self._is_for_a_client(request, channel):
            return
        self._decline(request, channel)

    def _decline(self, request: Request, channel: Channel) -> None:
        log.warning("codex_request_declined", extra={"method": request.method})
        answer = answer_to(request.method)
        if isinstance(answer, Refusal):
            channel.refuse(request, answer.code, answer.message)
        else:
            channel.answer(request, answer.result)

    def _is_for_a_client(self, request: Request, channel: Channel) -> bool:
        """True for a call of a tool that the client offered: the client runs it, and its next request has the result.

        Until then codex gets no answer, which would make the model go on without it. The thread is kept, or its turn is
        interrupted, as soon as all calls of the response are known.
        """
        thread = self._thread_of(ThreadId(str(request.params.get("threadId"))))
        if thread is None or thread.calls is None:
            return False
        if not thread.calls.ask(request, channel.answer):
            self._greenlets.spawn(self._answer_late, request, channel, thread.turn, thread.calls)
        return True

    def _answer_late(
        self, request: Request, channel: Channel, turn: Turn, calls: ToolCalls
    ) -> None:
        if turn.ended.wait(self._parked_s) or calls.is_complete:
            return
        if calls.withdraw(request):
            self._counters["parked_call_given_up"] += 1
            self._decline(request, channel)
