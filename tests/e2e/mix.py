"""A mix of requests as a service sees them, and what its clients saw of them: one side of the reconciliation."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask
from tests.e2e.in_flight import failing, releasing
from tests.e2e.raw_http import joined

CHAT = "/v1/chat/completions"
USAGE = {"input_tokens": 7, "output_tokens": 3}


@dataclass
class Seen:
    """What clients saw. `statuses` counts (route, status); tokens are of the usage objects that arrived."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, route: str, answer: requests.Response, usage: Any = None) -> None:
        with self.lock:
            self.statuses[route, answer.status_code] += 1
            self.streams += answer.headers["Content-Type"].startswith("text/event-stream")
            if usage:
                self.tokens["prompt"] += usage["prompt_tokens"]
                self.tokens["completion"] += usage["completion_tokens"]


class Mix:
    """Kinds of requests, each a method. The gateway must write signs of life often, to find out who has left."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self._gateway = gateway
        self._upstream = upstream
        self.seen = Seen()
        self.kinds: tuple[Callable[[], None], ...] = (
            self.whole,
            self.stream,
            self.choices,
            self.tool_call,
            self.leave,
            self.break_off,
            *(lambda name=name: self.fail(name) for name in FAILURES),
            self.mistake,
            self.wrong_key,
            self.unknown_model,
            self.unknown_url,
            self.wrong_method,
            self.models,
        )

    def run(
        self,
        count: int,
        in_the_middle: Callable[[], object] = lambda: None,
        before_the_rest: Callable[[], object] = lambda: None,
    ) -> None:
        """Make `count` requests, eight at a time; call `in_the_middle` while they run.

        The last quarter is made after `before_the_rest`: so what the middle began has come to something.
        """
        first = count * 3 // 4
        with ThreadPoolExecutor(8) as pool:
            made = [pool.submit(self._make, number) for number in range(first)]
            made[count // 2].result()
            in_the_middle()
            for request in made:
                request.result()
            before_the_rest()
            for request in [pool.submit(self._make, number) for number in range(first, count)]:
                request.result()

    def _make(self, number: int) -> None:
        self.kinds[number % len(self.kinds)]()

    # What goes well

    def whole(self) -> None:
        marker = self._upstream.say("a", "b", usage=USAGE)
        answer = self._gateway.post(ask(marker, temperature=0.1))
        self.seen.note(CHAT, answer, answer.json()["usage"])

    def stream(self) -> None:
        body = ask(self._upstream.say("a", "b", usage=USAGE), stream=True)
        answer = self._gateway.post(body | {"stream_options": {"include_usage": True}})
        usage = json.loads(answer.text.split("data: ")[-2])["usage"]
        self.seen.note(CHAT, answer, usage)

    def choices(self) -> None:
        answer = self._gateway.post(ask(self._upstream.say("a", usage=USAGE), n=2))
        self.seen.note(CHAT, answer, answer.json()["usage"])

    def tool_call(self) -> None:
        call = {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "call_1"}
        tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
        marker = self._upstream.play({"items": [call], "usage": USAGE})
        answer = self._gateway.post(ask(marker, tools=[tool]))
        assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"
        self.seen.note(CHAT, answer, answer.json()["usage"])

    # What goes wrong in the middle

    def leave(self) -> None:
        script = {"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]}
        marker = self._upstream.play(script)
        with self._gateway.post(ask(marker, stream=True), stream=True) as answer:
            for line in answer.iter_lines():
                if b'"content":"b"' in line:
                    break
            self.seen.note(CHAT, answer)
        self._upstream.control.wait("peer_closed", marker, timeout_ms=20_000)

    def break_off(self) -> None:
        marker = self._upstream.play(failing("abc"))
        with self._gateway.post(ask(marker, stream=True), stream=True) as answer:
            joined(answer.iter_content(None), releasing(self._upstream, marker, "b"))
            self.seen.note(CHAT, answer)

    # What is refused

    def fail(self, name: str) -> None:
        answer = self._gateway.post(ask(self._upstream.play({"failure": name})))
        assert answer.status_code >= 400
        self.seen.note(CHAT, answer)

    def mistake(self) -> None:
        self.seen.note(CHAT, self._gateway.post({"model": "gpt-5.5"}))

    def unknown_model(self) -> None:
        self.seen.note(CHAT, self._gateway.post({**ask("x"), "model": "none-such"}))

    def wrong_key(self) -> None:
        wrong = {"Authorization": "Bearer sk-wrong"}
        url = self._gateway.url + CHAT
        answer = requests.post(url, json=ask("x"), headers=wrong, timeout=DEADLINE_S)
        self.seen.note(CHAT, answer)

    def unknown_url(self) -> None:
        self.seen.note("unmatched", self._gateway.get("/v1/none-such"))

    def wrong_method(self) -> None:
        self.seen.note("unmatched", self._gateway.get(CHAT))

    def models(self) -> None:
        self.seen.note("/v1/models", self._gateway.get("/v1/models"))


FAILURES = (
    "bad_request",
    "context_length_exceeded",
    "invalid_prompt",
    "invalid_api_key",
    "forbidden",
    "rate_limited",
    "insufficient_quota",
    "server_error",
    "overloaded",
    "reset_before_headers",
)
