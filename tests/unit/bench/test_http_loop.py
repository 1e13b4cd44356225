"""Answers as they come over HTTP: chunks, frames, whole bodies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.http_connection import Received, encode_request
from bench.http_load import texts
from bench.http_loop import read_stream, read_whole

CALL = {"id": "call_1", "function": {"name": "f", "arguments": '{"a"'}}
USAGE = {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}}


def frame(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, **choice}]}


FRAMES: tuple[dict[str, Any], ...] = (
    frame(delta={"role": "assistant", "content": ""}),
    frame(delta={"content": "Grü"}),
    frame(delta={"content": "ße"}),
    frame(delta={"tool_calls": [{"index": 0, **CALL}]}),
    frame(delta={"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
    frame(delta={}, finish_reason="tool_calls"),
    {"choices": [], "usage": USAGE},
)


def received(body: bytes, *, chunk: int = 0) -> Received:
    head = b"HTTP/1.1 200 OK\r\n"
    if not chunk:
        return Received(1.0, 2.0, 3.0, head + b"Content-Length: 1\r\n\r\n" + body)
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return Received(1.0, 2.0, 3.0, head + b"transfer-encoding: chunked\r\n\r\n" + chunks)


def stream(*frames: dict[str, Any]) -> bytes:
    lines = [b": ping", *(b"data: " + orjson.dumps(each) for each in frames), b"data: [DONE]", b""]
    return b"\n\n".join(lines)


@pytest.mark.parametrize("chunk", [0, 1, 7, 4096])
def test_a_stream_is_put_together_however_it_was_cut(chunk: int) -> None:
    got = received(stream(*FRAMES), chunk=chunk)
    assert texts(got) == ["Grü", "ße"]
    step = read_stream(got)
    assert (step.text, step.call) == ("Grüße", ("call_1", "f", '{"a":1}'))
    assert (step.input_tokens, step.cached_tokens) == (7, 5)
    assert (step.asked, step.first, step.ended) == (1.0, 2.0, 3.0)


def test_a_stream_without_a_call_and_without_usage() -> None:
    step = read_stream(received(stream(FRAMES[1])))
    assert (step.text, step.call, step.input_tokens, step.cached_tokens) == ("Grü", None, 0, 0)


def test_lines_may_end_as_in_windows() -> None:
    assert texts(received(stream(*FRAMES).replace(b"\n", b"\r\n"))) == ["Grü", "ße"]


@pytest.mark.parametrize("calls", [None, [{**CALL, "type": "function"}]])
def test_a_whole_answer(calls: list[Any] | None) -> None:
    message = {"role": "assistant", "content": None if calls else "hi", "tool_calls": calls}
    body = {"choices": [{"message": message}], "usage": {"prompt_tokens": 3}}
    step = read_whole(received(orjson.dumps(body), chunk=5))
    assert step.text == ("" if calls else "hi")
    assert step.call == (("call_1", "f", '{"a"') if calls else None)
    assert (step.input_tokens, step.cached_tokens) == (3, 0)


def test_a_request_says_how_long_it_is() -> None:
    head, _, body = encode_request(8000, "key", {"model": "ü"}).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Authorization: Bearer key" in head
