"""Endpoints that answer prompts: one request in the words of either, and its answer read."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, MODEL, Gateway, ask
from tests.e2e.raw_http import Watch, exchange, parse_frames, request_bytes

Json = dict[str, Any]


@dataclass
class Told:
    """What a stream told: its text, how often it began, whether it came to its end, the code of its failure."""

    text: str = ""
    begun: int = 0
    is_whole: bool = False
    error: Json = field(default_factory=dict)

    @property
    def code(self) -> str | None:
        return self.error.get("code")


class Route(ABC):
    """One endpoint. `path` is its URL; where `keeps`, an answer is kept."""

    path: str
    keeps = False

    @abstractmethod
    def ask(self, marker: str, **more: Any) -> Json:
        """The smallest request whose prompt carries a marker."""

    @abstractmethod
    def said(self, answer: Json) -> str:
        """The text of a whole answer."""

    @abstractmethod
    def read(self, raw: bytes) -> Told:
        """Read a stream, unchunked, strictly."""

    def post(self, gateway: Gateway, body: Json, **options: Any) -> requests.Response:
        return requests.post(
            gateway.url + self.path,
            json=body,
            headers=gateway.headers,
            timeout=DEADLINE_S,
            **options,
        )

    def raw(self, marker: str, **more: Any) -> bytes:
        """A whole request as it goes over the wire."""
        body = json.dumps(self.ask(marker, **more)).encode()
        return request_bytes("POST", self.path, body, Connection="keep-alive")

    def stream(self, gateway: Gateway, body: Json, watch: Watch = len) -> Told:
        """Run one streamed request to its end."""
        sent = request_bytes("POST", self.path, json.dumps({**body, "stream": True}).encode())
        status, _, raw = exchange(gateway, sent, watch)
        assert status == 200, raw
        return self.read(raw)


class ChatRoute(Route):
    path = "/v1/chat/completions"

    def ask(self, marker: str, **more: Any) -> Json:
        return ask(marker, **more)

    def said(self, answer: Json) -> str:
        text: str = answer["choices"][0]["message"]["content"]
        return text

    def read(self, raw: bytes) -> Told:
        *frames, last = parse_frames(raw)
        assert last == "[DONE]"
        told = Told()
        for frame in frames:
            assert not told.error, "nothing comes after a failure"
            told.error = frame.get("error", {})
            for choice in frame.get("choices", ()):
                told.begun += choice["delta"].get("role") == "assistant"
                told.text += choice["delta"].get("content") or ""
                told.is_whole |= choice["finish_reason"] is not None
        return told


class ResponsesRoute(Route):
    path = "/v1/responses"
    keeps = True

    def ask(self, marker: str, **more: Any) -> Json:
        return {"model": MODEL, "input": f"[{marker}]", **more}

    def said(self, answer: Json) -> str:
        return "".join(
            part["text"]
            for item in answer["output"]
            if item["type"] == "message"
            for part in item["content"]
        )

    def read(self, raw: bytes) -> Told:
        assert raw.endswith(b"\n\n"), raw[-200:]
        told = Told()
        for number, block in enumerate(raw[:-2].split(b"\n\n")):
            name, data = block.split(b"\n")
            event = json.loads(data.removeprefix(b"data: "))
            assert name == b"event: " + event["type"].encode()
            assert event["sequence_number"] == number
            assert not told.error, "nothing comes after a failure"
            assert not told.is_whole, "nothing comes after the last event"
            told.begun += event["type"] == "response.created"
            if event["type"] == "response.output_text.delta":
                told.text += event["delta"]
            if event["type"] == "response.failed":
                told.error = event["response"]["codex_metadata"]["error"]
            told.is_whole = event["type"] in {"response.completed", "response.incomplete"}
        return told


ROUTES: tuple[Route, ...] = (ChatRoute(), ResponsesRoute())
on_each_route = pytest.mark.parametrize("route", ROUTES, ids=["chat", "responses"])
