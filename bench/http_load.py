"""HTTP load generator: `python -m bench.http_load PORT`, with the keys in the environment, separated by commas.

For the gateway and for its peers alike.
"""

from __future__ import annotations

import os
import sys
from itertools import cycle

import orjson

from bench import agent_loop, jobs
from bench.http_connection import HttpConnection, Received, encode_request
from bench.http_loop import ChatConversation
from bench.jobs import Answer, Job
from bench.measure import cpu_ms

KEYS_VARIABLE = "BENCH_KEYS"


class HttpClient:
    """One connection, one request that is sent again and again."""

    def __init__(self, port: int, key: str, job: Job) -> None:
        messages = [{"role": "user", "content": job.prompt}]
        body = {"model": job.model, "messages": messages, "stream": job.streamed}
        self._streamed = job.streamed
        self._request = encode_request(port, key, body)
        self._connection = HttpConnection(port)

    def ask(self) -> Answer:
        """Send the request and read the answer to its end. Blocks; raises `AnswerError` or `OSError`."""
        received = self._connection.ask(self._request, streamed=self._streamed)
        said = texts if self._streamed else whole_text
        return Answer(received.asked, received.first, received.ended, lambda: said(received))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def texts(received: Received) -> list[str]:
    """Return the deltas of one whole stream, byte for byte as a client would see them."""
    choices = [frame.get("choices") for frame in received.frames()]
    found = [choice[0]["delta"].get("content") for choice in choices if choice]
    return [text for text in found if text]


def whole_text(received: Received) -> list[str]:
    """Return the text of an answer that came as one object."""
    return [orjson.loads(received.body())["choices"][0]["message"]["content"]]


def main() -> None:
    """Do jobs against whoever listens on the given port."""
    port, keys = int(sys.argv[1]), os.environ[KEYS_VARIABLE].split(",")
    in_turn = cycle(keys)
    jobs.serve(
        {
            "questions": jobs.questions(lambda job: HttpClient(port, next(in_turn), job)),
            "loops": agent_loop.loops(
                lambda job, number: ChatConversation(port, keys[number % len(keys)], job, number),
                cpu_ms,
            ),
        }
    )


if __name__ == "__main__":
    main()
