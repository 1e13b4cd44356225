"""Requests as well-known clients send them, replayed byte for byte; asserted is what those clients read.

Each file in `recorded/` is one request, written in the manner of a client: its headers, its body, what the scripted
upstream says, and what the client must find. `{marker}` and `{key}` are filled in. Only `Connection` and
`Content-Length` are the replay's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from app.answers.tools import alias_of
from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream
from tests.e2e.raw_http import exchange, parse_frames

FOLDER = Path(__file__).parent / "recorded"
NEVER_PREFLIGHTED = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "origin", "user-agent"),
        *("sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site"),
    }
)
"""Set by the browser itself, or allowed without asking."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the client reads. `usage` is None where it does not matter, or "estimated"."""

    status: int
    headers: dict[str, str]
    content: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    calls: list[list[str]] = field(default_factory=list)
    usage: dict[str, int] | str | None = None
    ignored: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The kinds of items that reach the model, in order."""
    tools: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One file. `encoding` says how the client writes JSON; `also` that it sends the same without a stream, too."""

    client: str
    about: str
    method: str
    path: str
    headers: dict[str, str]
    expect: Expected
    body: dict[str, Any] | None = None
    encoding: str = "compact"
    also: str | None = None
    upstream: list[dict[str, Any]] | None = None

    def request(self, marker: str, *, whole: bool = False) -> bytes:
        """The bytes that go over the wire."""
        body = self.encoded(whole=whole).replace(b"{marker}", marker.encode())
        headers = {name: value.replace("{key}", KEY) for name, value in self.headers.items()}
        headers |= {"Host": "gateway.example:11435", "Connection": "close"}
        if body:
            headers["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body

    def encoded(self, *, whole: bool) -> bytes:
        if self.body is None:
            return b""
        body = dict(self.body)
        if whole:
            body["stream"] = False
            body.pop("stream_options", None)
        if self.encoding == "spaced-ascii":
            return json.dumps(body).encode()
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def load(path: Path) -> Recording:
    # A misspelt member would go unchecked in silence: both classes refuse what they do not know.
    data = json.loads(path.read_text())
    return Recording(**{**data, "expect": Expected(**data["expect"])})


RECORDINGS = {path.stem: load(path) for path in sorted(FOLDER.glob("*.json"))}


def those_that(condition: Callable[[Recording], bool]) -> pytest.MarkDecorator:
    names = [name for name, recording in RECORDINGS.items() if condition(recording)]
    assert names
    return pytest.mark.parametrize("name", names)


def is_streamed(recording: Recording) -> bool:
    return recording.upstream is not None and bool((recording.body or {}).get("stream"))


def is_whole(recording: Recording) -> bool:
    return recording.upstream is not None and (
        not is_streamed(recording) or recording.also == "whole"
    )


def lists_models(recording: Recording) -> bool:
    return bool(recording.expect.models)


def is_refused(recording: Recording) -> bool:
    return recording.expect.error is not None


def origin_of(recording: Recording) -> str | None:
    headers = {name.lower(): value for name, value in recording.headers.items()}
    return headers.get("origin")


def comes_from_a_page(recording: Recording) -> bool:
    return origin_of(recording) is not None


# What a client makes of an answer


@dataclass
class Answer:
    content: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    calls: list[list[str]] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def read_stream(frames: list[Any]) -> Answer:
    """Add the frames up as the OpenAI SDKs do, strictly: nothing twice, nothing out of place."""
    *chunks, done = frames
    assert done == "[DONE]"
    answer = Answer()
    heads = {json.dumps([c["id"], c["object"], c["created"], c["model"]]) for c in chunks}
    assert len(heads) == 1
    if not chunks[-1]["choices"]:
        answer.usage = chunks.pop()["usage"]
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks[:2]] == ["assistant", None]
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk.get("usage") is None
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert answer.finish_reason is None, "nothing comes after the finish"
        delta = choice["delta"]
        answer.content += delta.get("content") or ""
        answer.reasoning += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls", ()):
            add_call(answer.calls, call)
        answer.finish_reason = choice["finish_reason"]
    if not answer.content:  # an SDK reports a text for any string, also for an empty one
        assert all(chunk["choices"][0]["delta"].get("content") is None for chunk in chunks)
    answer.metadata = chunks[-1]["codex_metadata"]
    return answer


def add_call(calls: list[list[str]], delta: dict[str, Any]) -> None:
    if "id" in delta:
        assert delta["index"] == len(calls)
        assert delta["type"] == "function"
        calls.append([delta["id"], delta["function"]["name"], ""])
    calls[delta["index"]][2] += delta["function"]["arguments"]


def read_whole(body: dict[str, Any]) -> Answer:
    assert body["object"] == "chat.completion"
    (choice,) = body["choices"]
    message = choice["message"]
    assert message["role"] == "assistant"
    calls = [
        [call["id"], call["function"]["name"], call["function"]["arguments"]]
        for call in message.get("tool_calls", ())
    ]
    return Answer(
        content=message["content"] or "",
        reasoning=message.get("reasoning_content", ""),
        finish_reason=choice["finish_reason"],
        calls=calls,
        usage=body["usage"],
        metadata=body["codex_metadata"],
    )


def check(answer: Answer, expect: Expected) -> None:
    assert answer.content == expect.content
    assert answer.reasoning == expect.reasoning
    assert answer.calls == expect.calls
    assert answer.finish_reason == expect.finish_reason
    assert answer.metadata["ignored_parameters"] == expect.ignored
    assert answer.metadata["usage_estimated"] is (expect.usage == "estimated")


def counts(usage: dict[str, Any]) -> dict[str, int]:
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    return {
        "prompt_tokens": usage["prompt_tokens"],
        "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
    }


def check_usage(usage: dict[str, Any] | None, expect: Expected) -> None:
    assert usage is not None
    if expect.usage == "estimated":
        assert counts(usage)["completion_tokens"] > 0
    else:
        assert counts(usage) == expect.usage


# What the model is told


def texts_of_messages(messages: list[dict[str, Any]]) -> list[str]:
    """Everything that a client wants the model to read, in order."""
    texts: list[str] = []
    for message in messages:
        content = message["content"]
        parts: list[dict[str, Any]] = (
            [{"text": content}] if isinstance(content, str) else content or []
        )
        texts += [part["text"] if "text" in part else part["image_url"]["url"] for part in parts]
        texts += [call["function"]["arguments"] for call in message.get("tool_calls", ())]
    return [text for text in texts if text]


def texts_of_items(items: list[dict[str, Any]]) -> list[str]:
    texts: list[str] = []
    for item in items:
        if item["type"] == "message":
            texts += [part.get("text") or part["image_url"] for part in item["content"]]
        else:
            texts.append(item["arguments" if item["type"] == "function_call" else "output"])
    return [text for text in texts if text]


def check_asked(recording: Recording, body: dict[str, Any], marker: str) -> None:
    items = body["input"]
    assert [item.get("role") or item["type"] for item in items] == recording.expect.asked
    assert recording.body is not None
    sent = [
        text.replace("{marker}", marker) for text in texts_of_messages(recording.body["messages"])
    ]
    # What the gateway adds (an instruction to call a function, a schema) stands behind the developer's beginning.
    seen = texts_of_items(items)
    left = iter(seen)
    assert all(text in left for text in sent), (
        "in their order, maybe with an instruction among them"
    )
    assert len(seen) - len(sent) in (0, 1)
    offered = [tool["name"] for tool in body.get("tools", ())]
    assert offered == [alias_of(name) for name in recording.expect.tools]


def play(upstream: Upstream, recording: Recording) -> str:
    """Script the upstream; a model calls a function by the name under which it was offered."""
    script = json.loads(json.dumps(recording.upstream))
    for response in script:
        for item in response["items"]:
            if item["type"] == "function_call":
                item["name"] = alias_of(item["name"])
    return upstream.play(script)


def check_headers(recording: Recording, headers: dict[str, str]) -> None:
    assert headers["x-request-id"]
    assert "content-encoding" not in headers
    assert recording.expect.headers.items() <= headers.items()


# The replay


@those_that(is_streamed)
def test_a_streamed_answer_is_what_the_client_reads(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    recording = RECORDINGS[name]
    marker = play(upstream, recording)
    status, headers, raw = exchange(gateway, recording.request(marker))
    assert status == recording.expect.status, raw
    check_headers(recording, headers)
    answer = read_stream(parse_frames(raw))
    check(answer, recording.expect)
    assert recording.body is not None
    if (recording.body.get("stream_options") or {}).get("include_usage"):
        check_usage(answer.usage, recording.expect)
    else:
        assert answer.usage is None
    (request,) = upstream.control.requests(marker)
    check_asked(recording, request["body"], marker)


@those_that(is_whole)
def test_a_whole_answer_is_what_the_client_reads(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    recording = RECORDINGS[name]
    marker = play(upstream, recording)
    status, headers, raw = exchange(gateway, recording.request(marker, whole=True))
    assert status == recording.expect.status, raw
    assert headers["content-type"] == "application/json"
    answer = read_whole(json.loads(raw))
    check(answer, recording.expect)
    check_usage(answer.usage, recording.expect)
    (request,) = upstream.control.requests(marker)
    check_asked(recording, request["body"], marker)


@those_that(lists_models)
def test_the_list_of_models_is_there_before_any_chat(gateway: Gateway, name: str) -> None:
    recording = RECORDINGS[name]
    status, headers, raw = exchange(gateway, recording.request(""))
    assert status == recording.expect.status, raw
    check_headers(recording, headers)
    listed = json.loads(raw)
    assert listed["object"] == "list"
    assert set(recording.expect.models) <= {model["id"] for model in listed["data"]}
    for model in listed["data"]:
        assert set(model) == {"id", "object", "created", "owned_by"}


@those_that(is_refused)
def test_a_refusal_is_one_that_the_client_can_show(gateway: Gateway, name: str) -> None:
    recording = RECORDINGS[name]
    status, headers, raw = exchange(gateway, recording.request("x"))
    assert status == recording.expect.status, raw
    check_headers(recording, headers)
    error = json.loads(raw)["error"]
    assert (recording.expect.error or {}).items() <= error.items()
    assert error["message"]


@those_that(comes_from_a_page)
def test_a_page_is_let_through(gateway: Gateway, name: str) -> None:
    recording = RECORDINGS[name]
    asked = sorted({header.lower() for header in recording.headers} - NEVER_PREFLIGHTED)
    preflight = requests.options(
        gateway.url + recording.path,
        headers={
            "Origin": origin_of(recording) or "",
            "Access-Control-Request-Method": recording.method,
            "Access-Control-Request-Headers": ",".join(asked),
        },
        timeout=DEADLINE_S,
    )
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert set(asked) <= set(allowed)
    assert recording.method in preflight.headers["Access-Control-Allow-Methods"].split(", ")


def test_every_recording_is_replayed() -> None:
    replays = (is_streamed, is_whole, lists_models, is_refused)
    idle = {
        name
        for name, recording in RECORDINGS.items()
        if not any(replay(recording) for replay in replays)
    }
    assert idle == set()
    assert len({recording.client for recording in RECORDINGS.values()}) >= 8
