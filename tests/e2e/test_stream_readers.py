"""The same stream for every reader: the standard's, those that know less, and those with limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, MODEL, Gateway, Upstream, ask
from tests.e2e.stream_readers import MAX_LINE, READERS, Reader, Stream, add_up

LINE_ENDS = "\n|\r|\r\n|\v|\f|\x1c|\x1d|\x1e|\x85|\u2028|\u2029"
TEXTS = ["é", LINE_ENDS, "\n\ndata: x\n\n", ": a", "漢\u2028", "\u2029", "\U0001f680"]
LONG = json.dumps(
    {"code": 'print("é\u2028")\n' * 5000}, ensure_ascii=False
)  # 90 KB, with many escapes
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}
FUNCTION = {"name": "look", "parameters": {}}
USAGE = {"input_tokens": 7, "output_tokens": 3}
SIGNS = 3
"""Signs of life that a silence lasts for."""

MESSAGE = {"type": "message", "deltas": TEXTS}
REASONING = {"type": "reasoning", "summary_deltas": ["h\u2028", "m"]}


def call(call_id: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "name": "look", "arguments": arguments, "call_id": call_id}


def called(*calls: tuple[str, str]) -> dict[int, dict[str, str]]:
    return {
        number: {"id": call_id, "type": "function", "name": "look", "arguments": arguments}
        for number, (call_id, arguments) in enumerate(calls)
    }


def choice(reason: str | None = "stop", **said: Any) -> dict[str, Any]:
    return {"role": "assistant", "calls": {}, "finish_reason": reason, **said}


TEXT = choice(content="".join(TEXTS))

# name: what the upstream does, what is asked for, what each choice adds up to
CASES: dict[str, tuple[Any, dict[str, Any], list[dict[str, Any]]]] = {
    "text": ({"items": [MESSAGE]}, {}, [TEXT]),
    "calls": (
        {"items": [call("a", LONG), call("b", "{}")]},
        {"tools": [TOOL]},
        [choice("tool_calls", calls=called(("a", LONG), ("b", "{}")))],
    ),
    "text and a call": (
        {"items": [MESSAGE, call("a", LONG)]},
        {"tools": [TOOL]},
        [{**TEXT, "finish_reason": "tool_calls", "calls": called(("a", LONG))}],
    ),
    "a legacy call": (
        {"items": [call("a", LONG)]},
        {"functions": [FUNCTION]},
        [choice("function_call", calls={0: {"name": "look", "arguments": LONG}})],
    ),
    "reasoning first": (
        {"items": [REASONING, MESSAGE]},
        {},
        [{**TEXT, "reasoning_content": "h\u2028m"}],
    ),
    "several choices": ({"items": [MESSAGE]}, {"n": 3}, [TEXT] * 3),
    "silence before the text": ({"items": [MESSAGE], "hold_before_headers": True}, {}, [TEXT]),
    "silence within the text": ({"items": [MESSAGE], "hold_after": 3}, {}, [TEXT]),
    "silence after the text": ({"items": [MESSAGE], "hold": True}, {}, [TEXT]),
    "silence before the end": ({"items": [MESSAGE], "hold": "end"}, {}, [TEXT]),
    "silence before a call": (
        {"items": [call("a", "{}")], "hold_before_headers": True},
        {"tools": [TOOL]},
        [choice("tool_calls", calls=called(("a", "{}")))],
    ),
    "silence after a call": (
        {"items": [call("a", "{}")], "hold": "end"},
        {"tools": [TOOL]},
        [choice("tool_calls", calls=called(("a", "{}")))],
    ),
    "silence after reasoning": (
        {"items": [REASONING, MESSAGE], "hold_after": 2},
        {},
        [{**TEXT, "reasoning_content": "h\u2028m"}],
    ),
    "silence of all choices": ({"items": [MESSAGE], "hold_after": 3}, {"n": 2}, [TEXT] * 2),
    "silence after one of two choices": (
        [{"items": [MESSAGE], "usage": USAGE}, {"items": [MESSAGE], "usage": USAGE, "hold": "end"}],
        {"n": 2},
        [TEXT] * 2,
    ),
    "a failure": (
        {
            "items": [MESSAGE],
            "failure": {"name": "cut_mid_stream", "after_deltas": len(TEXTS)},
            "hold": True,
        },
        {},
        [{**TEXT, "finish_reason": None}],
    ),
}


@pytest.fixture
def gateway(lend_gateway: Callable[..., Gateway]) -> Gateway:
    return lend_gateway(PROXY_SSE_KEEPALIVE_MS="50", PROXY_STREAM_COMMIT_MS="50")


def read(
    gateway: Gateway, upstream: Upstream, script: Any, path: str, body: dict[str, Any]
) -> tuple[Stream, int]:
    """Return a stream, and how many signs of life the upstream waited for."""
    text = json.dumps(body)
    held = count_held(script, body.get("n", 1))
    marker = upstream.play(script)
    raw, signs = b"", 0
    with requests.post(
        f"{gateway.url}/v1{path}",
        text.replace("MARKER", marker),
        headers={**gateway.headers, "Content-Type": "application/json"},
        stream=True,
        timeout=DEADLINE_S,
    ) as response:
        assert response.status_code == 200
        for piece in response.iter_content(None):
            raw += piece
            before, signs = signs, signs + is_sign_of_life(piece)
            if held and before < SIGNS <= signs:
                upstream.control.wait("held", marker, count=held)
                upstream.control.release(marker)
    return Stream(raw, dict(response.headers)), signs


def count_held(script: Any, choices: int) -> int:
    """Return how many answers of a request the upstream holds."""
    scripts = script if isinstance(script, list) else [script] * choices
    return sum(any(name.startswith("hold") for name in one) for one in scripts)


def is_sign_of_life(write: bytes) -> bool:
    return any(
        empty in write and b'"finish_reason":null' in write
        for empty in (b'"delta":{}', b'"text":""')
    )


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_every_reader_reads_the_same_answer(
    gateway: Gateway, upstream: Upstream, name: str, include_usage: bool
) -> None:
    script, more, choices = CASES[name]
    body = ask("MARKER", stream=True, stream_options={"include_usage": include_usage}, **more)
    stream, signs = read(gateway, upstream, script, "/chat/completions", body)
    assert signs >= SIGNS * ("silence" in name)
    assert max(map(len, stream.body.splitlines())) < MAX_LINE // 2
    for reader in READERS:
        answer = add_up(reader(stream))
        assert answer["choices"] == dict(enumerate(choices)), reader.__name__
        assert answer["error"] == ("UPSTREAM_ERROR" if name == "a failure" else None)
        assert bool(answer["usage"]) == (include_usage and name != "a failure")


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_a_refusal_is_no_text_for_any_reader(
    gateway: Gateway, upstream: Upstream, reader: Reader
) -> None:
    script = {"items": [{"type": "message", "deltas": [], "refusal": "I can't."}]}
    stream, _ = read(gateway, upstream, script, "/chat/completions", ask("MARKER", stream=True))
    (only,) = add_up(reader(stream))["choices"].values()
    assert "refused" in only.pop("refusal")
    assert only == choice()


@pytest.mark.parametrize("hold", [{}, {"hold_before_headers": True}, {"hold_after": 3}])
def test_every_reader_reads_the_same_completion(
    gateway: Gateway, upstream: Upstream, hold: dict[str, Any]
) -> None:
    body = {"model": MODEL, "prompt": "MARKER" + LONG, "echo": True, "stream": True}
    stream, signs = read(gateway, upstream, {"items": [MESSAGE], **hold}, "/completions", body)
    assert signs >= SIGNS * bool(hold)
    for reader in READERS:
        (only,) = add_up(reader(stream))["choices"].values()
        assert only["content"].endswith(LONG + "".join(TEXTS)), reader.__name__
        assert only["finish_reason"] == "stop"
