"""Requests that are no chat, and those that are refused."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.harness import KEY, MODEL
from tests.e2e.raw_http import request_bytes
from tests.e2e.recording.case import CHAT, COMPLETIONS, MARK, Case, chat, get, legacy, say
from tests.e2e.recording.chats import CLOSED, OPEN, WEATHER, form, tool

HEALTH = (
    *(get(f"health: {path}, with a key", path) for path in ("/livez", "/readyz", "/healthz")),
    *(get(f"health: {path}", path, key="") for path in ("/livez", "/readyz", "/healthz")),
    get("health: HEAD", "/livez", method="HEAD"),
    get("health: a wrong key", "/readyz", key="x"),
)

MODELS = (
    get("models: list", "/v1/models"),
    get("models: one", f"/v1/models/{MODEL}"),
    get("models: one with an effort, and a slash", f"/v1/models/{MODEL}-high/"),
    get("models: an alias", "/v1/models/team/fast"),
    get("models: unknown", "/v1/models/gpt-4"),
    get("models: HEAD", "/v1/models", method="HEAD"),
    get("models: without a key", "/v1/models", key=""),
)

_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}

LEGACY = (
    legacy("completions: whole", say("a", "b")),
    legacy("completions: stream", say("a", "b"), **_STREAMED),
    legacy("completions: echo", say("!"), echo=True),
    legacy("completions: echo as a stream", say("!"), echo=True, stream=True),
    legacy("completions: prompts and n", say("one"), say("two"), prompt=[*MARK], n=2),
    legacy("completions: prompts as a stream", say("1"), say("2"), prompt=[*MARK], **_STREAMED),
    legacy("completions: stop", say("a", "bc", hold="end"), stop="c", temperature=0, user="u"),
    legacy("completions: max_tokens as a stream", say("a", "b", "c", hold="end"), max_tokens=2),
    legacy("completions: failure", {"failure": "forbidden"}),
)


def _refused_fields() -> list[Case]:
    """Return chat requests in which one field is wrong."""
    image = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}
    no_image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    wrong: dict[str, dict[str, Any]] = {
        "an unknown model": {"model": "gpt-4"},
        "no messages": {"messages": []},
        "a role": {"messages": [{"role": "robot", "content": "x"}]},
        "a part": {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
        "audio": {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        "a result without a call": {
            "messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]
        },
        "a call without a result": {
            "messages": [
                {"role": "assistant", "tool_calls": [called]},
                {"role": "user", "content": "x"},
            ]
        },
        "an image that is none": {"messages": [{"role": "user", "content": [no_image]}]},
        "an image that is out of reach": {"messages": [{"role": "user", "content": [image]}]},
        "stream": {"stream": "yes"},
        "stream_options without a stream": {"stream_options": {"include_usage": True}},
        "n": {"n": 9},
        "n of zero": {"n": 0},
        "stop": {"stop": [*"abcdefghijklmnopq"]},
        "max_tokens": {"max_tokens": 0},
        "temperature": {"temperature": 3},
        "top_p of another type": {"top_p": "hot"},
        "logprobs": {"logprobs": True},
        "modalities": {"modalities": ["audio"]},
        "reasoning_effort": {"reasoning_effort": "bogus"},
        "an effort against the model's name": {
            "model": f"{MODEL}-low",
            "reasoning_effort": "high",
        },
        "service_tier": {"service_tier": "slow"},
        "verbosity": {"verbosity": "loud"},
        "response_format": {"response_format": "json"},
        "response_format of another type": {"response_format": {"type": "xml"}},
        "a form that is strict in name only": {"response_format": form(OPEN, strict=True)},
        "a schema that is none": {"response_format": form({"type": "thing"})},
        "a form without a name": {
            "response_format": {"type": "json_schema", "json_schema": {"schema": CLOSED}}
        },
        "tools": {"tools": "f"},
        "tools twice": {"tools": [WEATHER, WEATHER]},
        "a tool's name": {"tools": [tool("a b")]},
        "a tool's parameters": {"tools": [tool("f", type="array")]},
        "tool_choice": {"tool_choice": "maybe", "tools": [WEATHER]},
        "tool_choice without tools": {"tool_choice": "required"},
        "tool_choice of an unknown tool": {
            "tool_choice": {"type": "function", "function": {"name": "g"}},
            "tools": [WEATHER],
        },
        "functions": {"functions": [{"name": ""}]},
    }
    said = [{"role": "user", "content": "x"}]
    return [
        chat(f"refused: {name}", **{"messages": said, **fields}) for name, fields in wrong.items()
    ]


def _refused_bodies() -> list[Case]:
    wrong = {
        "half of JSON": b"{",
        "no UTF-8": b"\xff\xfe",
        "a lone surrogate": b'{"model": "\\ud800"}',
        "a list": b"[]",
        "an empty object": b"{}",
        "a model of another type": b'{"model": 5, "messages": []}',
        "no model": b'{"messages": [{"role": "user", "content": "x"}]}',
        "no JSON at all": b"NaN",
        "a body beyond the limit": json.dumps("x" * 65536).encode(),
    }
    return [Case(name=f"refused: {name}", body=body) for name, body in wrong.items()]


_GOOD = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}]}).encode()

_IS_JSON = {"Content-Type": "application/json"}

REFUSED = (
    *_refused_bodies(),
    *_refused_fields(),
    Case(name="refused: an empty body", headers=_IS_JSON),
    Case(name="refused: another type", body=_GOOD, headers={"Content-Type": "text/plain"}),
    Case(name="refused: compressed", body=_GOOD, headers={"Content-Encoding": "gzip"}),
    Case(
        name="refused: chunks that are none",
        by_hand=request_bytes("POST", CHAT, b"", Transfer_Encoding="chunked", **_IS_JSON)
        + b"zz\r\n{}\r\n0\r\n\r\n",
    ),
    Case(name="refused: no key", body=_GOOD, key=""),
    Case(name="refused: a wrong key", body=_GOOD, key="sk-wrong"),
    Case(name="refused: no bearer", body=_GOOD, headers={"Authorization": f"Basic {KEY}"}),
    Case(name="refused: no key for a prompt", path=COMPLETIONS, body={}, key=""),
    get("refused: GET of chats", CHAT),
    Case(name="refused: DELETE of chats", method="DELETE"),
    Case(name="refused: PATCH of health", method="PATCH", path="/readyz"),
    Case(name="refused: a method that nobody knows", method="BREW", path="/livez"),
    get("refused: no such path", "/v1/nothing"),
    get("refused: the root", "/", key=""),
    *(
        Case(name=f"refused: {path}", path=f"/v1/{path}", body={"input": "x"})
        for path in ("embeddings", "audio/speech", "images/generations", "moderations", "responses")
    ),
    legacy("refused: no prompt", prompt=None),
    legacy("refused: tokens for a prompt", prompt=["a", [1, 2]]),
    legacy("refused: suffix", prompt="x", suffix="y"),
    legacy("refused: best_of", prompt="x", best_of=3),
    legacy("refused: too many prompts", prompt=["x"] * 9),
    Case(name="refused: no HTTP", by_hand=b"NONSENSE\r\n\r\n"),
    Case(
        name="refused: a line that is too long",
        by_hand=b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    Case(
        name="refused: a header that is too long",
        by_hand=b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
    ),
)

OPTIONS = (
    Case(name="options: plain", method="OPTIONS", key=""),
    Case(
        name="options: preflight",
        method="OPTIONS",
        key="",
        headers={
            "Origin": "https://chat.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-mine",
        },
    ),
    Case(
        name="options: preflight of the operator's path",
        method="OPTIONS",
        path="/internal/maintenance",
        key="",
        headers={"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"},
    ),
)
