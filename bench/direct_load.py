"""Direct sides: `python -m bench.direct_load THREADS HOME UPSTREAM_URL BINARY`, with threads cold, warm or kept.

The least that a client of `codex app-server` can do and still be right: it starts the child that the gateway would
start, says the same to it, and keeps what comes back.

cold    a new thread for each question, as a client without any memory does it
warm    a thread that was started before the question came
kept    one thread for each client, which goes on with it; a new one after 30 questions
"""

from __future__ import annotations

import sys
import time

from gevent import spawn
from gevent.queue import Queue

from app.api.chat_completions.messages import to_items
from app.backend.request import TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.parse_events import ThreadId
from bench import agent_loop, jobs
from bench.codex_pipe import Pipe, Turn, child, launcher, over_websockets
from bench.direct_loop import ColdConversation, KeptConversation
from bench.jobs import Answer, AnswerError, Client, Job
from bench.measure import cpu_ms

_KEPT_QUESTIONS = 30
_SPARE = 8  # while some are being started: over a real network that takes longer than an answer


def start_thread(pipe: Pipe, request: TurnRequest) -> ThreadId:
    """Start a thread. Blocks."""
    params = protocol.thread_start_params(request, over_websocket=over_websockets())
    started = pipe.call("thread/start", params)
    return protocol.parse_thread_id(started)


class _Client:
    """Asks the same question again and again; how it comes by its thread is what differs."""

    def __init__(self, pipe: Pipe, job: Job) -> None:
        self._pipe = pipe
        items = to_items([{"role": "user", "content": job.prompt}])
        self._request = TurnRequest(job.model, items)

    def ask(self) -> Answer:
        """Run one turn. Blocks; raises `AnswerError`."""
        pipe, request, turn = self._pipe, self._request, Turn()
        asked = time.perf_counter()
        thread_id = self._take_thread()
        pipe.turns[thread_id] = turn
        pipe.call("thread/inject_items", protocol.inject_items_params(thread_id, request.items))
        pipe.call("turn/start", protocol.turn_start_params(thread_id, request))
        turn.over.wait()
        del pipe.turns[thread_id]
        self._give_back(thread_id)
        if turn.status != "completed" or not turn.texts:
            raise AnswerError(f"the turn ended as {turn.status} with {len(turn.texts)} deltas")
        return Answer(asked, turn.first, turn.ended, lambda: turn.texts)

    def _take_thread(self) -> ThreadId:
        return start_thread(self._pipe, self._request)

    def _give_back(self, thread_id: ThreadId) -> None:
        self._pipe.send("thread/unsubscribe", protocol.unsubscribe_params(thread_id))

    def close(self) -> None:
        """Give back what the client holds."""


class _Stock:
    """Threads that wait for questions: some more than are ever asked for at once; each one taken is replaced."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._ready: Queue[ThreadId] = Queue()
        self._size = 0

    def hold(self, request: TurnRequest, size: int) -> None:
        """Start threads until there are so many. Blocks."""
        while self._size < size:
            self._size += 1
            self._add(request)

    def take(self, request: TurnRequest) -> ThreadId:
        """Return one. Blocks where more are asked for than the child can start."""
        spawn(self._add, request)
        return self._ready.get()

    def _add(self, request: TurnRequest) -> None:
        self._ready.put(start_thread(self._pipe, request))


class _WarmClient(_Client):
    def __init__(self, pipe: Pipe, job: Job, stock: _Stock) -> None:
        super().__init__(pipe, job)
        self._stock = stock
        stock.hold(self._request, job.concurrency + _SPARE)

    def _take_thread(self) -> ThreadId:
        return self._stock.take(self._request)


class _KeptClient(_Client):
    def __init__(self, pipe: Pipe, job: Job) -> None:
        super().__init__(pipe, job)
        self._thread_id: ThreadId | None = None
        self._asked = 0

    def _take_thread(self) -> ThreadId:
        if self._thread_id is None:
            self._thread_id = super()._take_thread()
        return self._thread_id

    def _give_back(self, thread_id: ThreadId) -> None:
        self._asked += 1
        if self._asked % _KEPT_QUESTIONS == 0:
            self.close()

    def close(self) -> None:
        """Let the thread go."""
        if self._thread_id is not None:
            super()._give_back(self._thread_id)
            self._thread_id = None


def main() -> None:
    """Start the child, do jobs, end the child."""
    threads, root, upstream_url, binary = sys.argv[1:]
    with child(launcher(root, upstream_url, binary)) as (pipe, child_pid):
        stock = _Stock(pipe)

        def connect(job: Job) -> Client:
            if threads == "warm":
                return _WarmClient(pipe, job, stock)
            return (_KeptClient if threads == "kept" else _Client)(pipe, job)

        conversation = KeptConversation if threads == "kept" else ColdConversation
        jobs.tell({"child_pid": child_pid})
        jobs.serve(
            {
                "questions": jobs.questions(connect),
                "loops": agent_loop.loops(
                    lambda job, number: conversation(pipe, job.model, job.markers[number]), cpu_ms
                ),
            }
        )


if __name__ == "__main__":
    main()
