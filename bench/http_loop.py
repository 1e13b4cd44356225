"""Agent loop over chat completions: a client without memory on the other side, which sends everything in each round."""

from __future__ import annotations

from typing import Any

import orjson

from bench import agent_loop
from bench.agent_loop import LoopJob, Step
from bench.http_connection import HttpConnection, Received, encode_request

_TOOL = {
    "type": "function",
    "function": {
        "name": agent_loop.TOOL_NAME,
        "description": agent_loop.TOOL_DESCRIPTION,
        "parameters": agent_loop.TOOL_PARAMETERS,
    },
}


class ChatConversation:
    """The n-th conversation of a job, with its messages."""

    def __init__(self, port: int, key: str, job: LoopJob, number: int) -> None:
        self._connection = HttpConnection(port)
        self._port = port
        self._key = key
        self._streamed = job.streamed
        self._body: dict[str, Any] = {
            "model": job.model,
            "messages": agent_loop.opening(job.markers[number]),
            "tools": [_TOOL],
            "stream": job.streamed,
        }
        if job.streamed:
            self._body["stream_options"] = {"include_usage": True}
        self._last: Step | None = None

    def next(self, result: str | None) -> Step:
        """Ask with everything that was said so far."""
        if self._last is not None and result is not None:
            self._body["messages"] += agent_loop.chat_messages(self._last, result)
        request = encode_request(self._port, self._key, self._body)
        received = self._connection.ask(request, streamed=self._streamed)
        self._last = step = (read_stream if self._streamed else read_whole)(received)
        return step

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def read_stream(received: Received) -> Step:
    """Return the answer that a stream's frames are together."""
    text, call = "", ["", "", ""]
    usage: dict[str, Any] = {}
    for frame in received.frames():
        usage = frame.get("usage") or usage
        for choice in frame.get("choices") or ():
            text += choice["delta"].get("content") or ""
            for piece in choice["delta"].get("tool_calls") or ():
                function = piece.get("function") or {}
                call[0] += piece.get("id") or ""
                call[1] += function.get("name") or ""
                call[2] += function.get("arguments") or ""
    return _step(received, text, (call[0], call[1], call[2]) if call[0] else None, usage)


def read_whole(received: Received) -> Step:
    """Return the answer of a body that came whole."""
    body = orjson.loads(received.body())
    message = body["choices"][0]["message"]
    calls = message.get("tool_calls")
    call = None
    if calls:
        function = calls[0]["function"]
        call = (calls[0]["id"], function["name"], function["arguments"])
    return _step(received, message.get("content") or "", call, body["usage"])


def _step(
    received: Received, text: str, call: tuple[str, str, str] | None, usage: dict[str, Any]
) -> Step:
    details = usage.get("prompt_tokens_details") or {}
    return Step(
        received.asked,
        received.first,
        received.ended,
        text,
        call,
        usage.get("prompt_tokens", 0),
        details.get("cached_tokens", 0),
    )
