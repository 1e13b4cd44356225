"""Conversations of a client that sends everything each time, and what the upstream has seen of them."""

from __future__ import annotations

import json
from typing import Any

import requests

from tests.e2e.harness import MODEL, Gateway, Upstream

Message = dict[str, Any]

TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
THOUGHT = {"type": "reasoning", "summary_deltas": ["hm"], "sealed": "opaque"}


def call(call_id: str | None = "call_0", arguments: str = "{}") -> Message:
    item = {"type": "function_call", "name": "look", "arguments": arguments}
    return item if call_id is None else {**item, "call_id": call_id}


def said(*deltas: str, phase: str | None = None, unsent: str = "") -> Message:
    item = {"type": "message", "deltas": list(deltas), "unsent": unsent}
    return {**item, "phase": phase} if phase else item


class Talk:
    """A client that sends its whole conversation, and what the upstream has seen of it."""

    def __init__(self, gateway: Gateway, upstream: Upstream, *answers: list[Message]) -> None:
        self.gateway, self.upstream = gateway, upstream
        self.marker = upstream.play([{"items": items} for items in answers])
        self.messages: list[Message] = [{"role": "user", "content": f"[{self.marker}]"}]
        self.options: dict[str, Any] = {"model": MODEL}
        self.headers: dict[str, str] = {}

    def post(self, **more: Any) -> requests.Response:
        return requests.post(
            f"{self.gateway.url}/v1/chat/completions",
            json={**self.options, "messages": self.messages, **more},
            headers={**self.gateway.headers, **self.headers},
            timeout=30,
        )

    def ask(self, **more: Any) -> Message:
        """Ask, take the answer into the conversation, run its calls, and return its message."""
        message: Message = self.answer(**more)["choices"][0]["message"]
        return message

    def answer(self, **more: Any) -> dict[str, Any]:
        """Do the same, and return the whole answer."""
        answer = self.post(**more)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        message = found["choices"][0]["message"]
        self.messages.append(message)
        for made in message.get("tool_calls", []):
            content = f"result of {made['id']}"
            self.messages.append({"role": "tool", "tool_call_id": made["id"], "content": content})
        return found

    def say(self, text: str = "and then?") -> None:
        self.messages.append({"role": "user", "content": text})

    def continued(self, **more: Any) -> bool:
        """Ask once more, and return whether that went on where the conversation was left."""
        self.say()
        before = len(self.bodies())
        found = self.answer(**more)
        # codex may have asked once more in the turn before, and come late with it.
        assert logical(self.messages[:-1]) in self.said_upstream()[before:]
        answer: bool = found["codex_metadata"]["continued"]
        return answer

    def answered(self) -> int:
        """Where the last answer stands."""
        roles = [message["role"] for message in self.messages]
        return len(roles) - 1 - roles[::-1].index("assistant")

    def bodies(self) -> list[dict[str, Any]]:
        return [request["body"] for request in self.upstream.control.requests(self.marker)]

    def sent(self) -> list[list[Message]]:
        """The items of every request that reached the upstream."""
        return [body["input"] for body in self.bodies()]

    def said_upstream(self) -> list[list[Any]]:
        """What each of them says, without what codex alone adds."""
        return [[item for item in map(plain, items) if item] for items in self.sent()]

    def sessions(self) -> int:
        return len({body["prompt_cache_key"] for body in self.bodies()})


def plain(item: Message) -> Any:
    """What an item of the upstream says; nothing for the model's own thoughts."""
    if item["type"] == "message":
        return item["role"], "".join(part["text"] for part in item["content"]).strip()
    if item["type"] == "function_call":
        return item["call_id"], item["name"], json.loads(item["arguments"])
    return (item["call_id"], item["output"]) if item["type"] == "function_call_output" else None


def logical(messages: list[Message]) -> list[Any]:
    """What these messages say, in the words of `plain`."""
    found: list[Any] = []
    for message in messages:
        if message["role"] == "tool":
            found.append((message["tool_call_id"], message["content"]))
            continue
        if message.get("content"):
            role = "developer" if message["role"] == "system" else message["role"]
            found.append((role, message["content"].strip()))
        for made in message.get("tool_calls") or ():
            function = made["function"]
            found.append((made["id"], function["name"], json.loads(function["arguments"])))
    return found
