"""Two gateways that are given the same conversations, one that keeps threads and one that does not, and are compared.

Whatever is said holds a canary: of a text, so that it is known who has said it; of a thought, so that it is known under
which key. A request may bring upstream only what its client said, and thoughts of its own key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import requests

from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.talk import Message

_CANARY = re.compile(r"canary-\d+-")
_THOUGHT = re.compile(r"thought-of-(\w+)")
_FINISHES = ("finish_reason", "index")
_numbers = count()


def canary() -> str:
    return f"canary-{next(_numbers)}-"


@dataclass
class Twin:
    """One gateway with an upstream of its own, and the conversation as its client has it.

    Ids of calls may differ from those of the other. codex may ask once more after an answer that was cut off, when the
    other is asked already: with one upstream for both it would take the other's answer.
    """

    gateway: Gateway
    upstream: Upstream
    messages: list[Message] = field(default_factory=list)


@dataclass
class Round:
    """One request and how it is answered. `leaves_after` is the frame after which its client goes."""

    script: list[dict[str, Any]]
    options: dict[str, Any]
    key: str
    echo: Callable[[Message], None]
    picked: int = 0
    times: int = 1
    stream: bool = False
    leaves_after: int | None = None


class Conversation:
    """A conversation that both gateways are asked to go on with, always in the same way."""

    def __init__(self, sides: list[tuple[Gateway, Upstream]]) -> None:
        self.twins = [Twin(*side) for side in sides]
        self.keys: set[str] = set()
        """Under which something of it was answered."""
        self.always: dict[str, Any] = {}
        """Instructions of every round."""
        self.terms: dict[str, Any] = {}
        """Other options of every round, until they change."""

    def copy(self, length: int) -> Conversation:
        """A fork behind so many messages."""
        other = Conversation([(twin.gateway, twin.upstream) for twin in self.twins])
        for ours, theirs in zip(self.twins, other.twins, strict=True):
            theirs.messages = deepcopy(ours.messages[:length])
        other.keys, other.always, other.terms = set(self.keys), self.always, self.terms
        return other

    def change(self, change: Callable[[list[Message]], object]) -> None:
        for twin in self.twins:
            change(twin.messages)

    @property
    def length(self) -> int:
        return len(self.twins[0].messages)

    def starts(self) -> list[int]:
        """Where a question of the user's stands: what is before one is whole."""
        messages = self.twins[0].messages
        return [at for at, message in enumerate(messages) if message["role"] == "user"]

    def open_calls(self) -> int:
        """How many results its client has still to give: they stand at the end."""
        roles = [message["role"] for message in self.twins[0].messages]
        return len(roles) - max(
            (at for at, role in enumerate(roles, 1) if role != "tool"), default=0
        )

    def play(self, this: Round, marker: str) -> list[bool] | None:
        """Ask both, compare them, take the answer into the conversation; return what the keeping one went on with.

        None if that was not told: the answer failed, or the client left.
        """
        kept, fresh = (self._ask(twin, this, marker) for twin in self.twins)
        went_on = [one.get("continued", False) for one in kept]
        assert this.key in self.keys or not any(went_on)
        if this.leaves_after is None:
            answers = [[comparable(one) for one in found] for found in (kept, fresh)]
            assert answers[0] == answers[1], answers
        if this.leaves_after is not None or kept[0]["status"] != 200:
            instead = said_by_client()
            self.change(lambda messages: messages.append(instead))
            return None
        for twin, found in zip(self.twins, (kept, fresh), strict=True):
            take_answer(twin, this, found[-1]["choices"][this.picked])
        self.keys.add(this.key)
        return went_on

    def _ask(self, twin: Twin, this: Round, marker: str) -> list[dict[str, Any]]:
        control = twin.upstream.control
        control.script(marker, this.script)
        before = len(control.requests(marker))
        with ThreadPoolExecutor(this.times) as pool:
            asked = [pool.submit(post, twin, this) for _ in range(this.times)]
            found = [one.result() for one in asked]
        sent = control.requests(marker)[before:]
        for request in sent[: 1 if len(this.script) > 1 else None]:
            check_sent(request["body"]["input"], twin.messages, this)
        return found


def said_by_client() -> Message:
    """What a client puts in the place of an answer that it has not got."""
    return {"role": "assistant", "content": f"(no answer) {canary()}"}


# Asking


def post(twin: Twin, this: Round) -> dict[str, Any]:
    body = {"model": MODEL, **this.options, "messages": twin.messages}
    if this.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    answer = requests.post(
        f"{twin.gateway.url}/v1/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {this.key}"},
        timeout=30,
        stream=this.stream,
    )
    with closing(answer):
        if answer.status_code != 200:
            return {"status": answer.status_code, "code": answer.json()["error"]["code"]}
        return streamed(answer, this) if this.stream else whole(answer.json())


def whole(found: dict[str, Any]) -> dict[str, Any]:
    choices = [
        {"message": one["message"], "finish": one["finish_reason"]} for one in found["choices"]
    ]
    continued = found["codex_metadata"]["continued"]
    return {"status": 200, "choices": choices, "usage": found["usage"], "continued": continued}


def streamed(answer: requests.Response, this: Round) -> dict[str, Any]:
    frames: list[Any] = []
    for line in answer.iter_lines(chunk_size=None):
        if len(frames) == this.leaves_after:
            break
        if line.startswith(b"data: {"):
            frames.append(json.loads(line.removeprefix(b"data: ")))
    found: dict[str, Any] = {"status": 200, "usage": None, "continued": False, "choices": []}
    choices: dict[int, dict[str, Any]] = {}
    for frame in frames:
        if "error" in frame:
            return {"status": 599, "code": frame["error"]["code"]}
        found["usage"] = frame.get("usage") or found["usage"]
        found["continued"] |= frame.get("codex_metadata", {}).get("continued", False)
        for piece in frame["choices"]:
            one = choices.setdefault(
                piece["index"], {"message": {"role": "assistant", "content": None}}
            )
            add_delta(one["message"], piece["delta"])
            one["finish"] = piece["finish_reason"] or one.get("finish")
    found["choices"] = [choices[index] for index in sorted(choices)]
    return found


def add_delta(message: Message, delta: dict[str, Any]) -> None:
    if delta.get("content"):
        message["content"] = (message["content"] or "") + delta["content"]
    for call in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if call.get("id"):
            calls.append({"id": call["id"], "type": "function", "function": {**call["function"]}})
        else:
            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]


def take_answer(twin: Twin, this: Round, choice: dict[str, Any]) -> None:
    message = deepcopy(choice["message"])
    calls = message.get("tool_calls", [])
    this.echo(message)
    twin.messages.append(message)
    twin.messages += [{"role": "tool", "tool_call_id": it["id"], "content": ""} for it in calls]


# Comparing


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is another in each: ids, where they were made up, and whether it went on."""
    if answer["status"] != 200:
        return {"code": answer["code"]}  # a stream may have begun before it failed
    choices = []
    for choice in answer["choices"]:
        message = choice["message"]
        calls = [
            (it["function"]["name"], it["function"]["arguments"])
            for it in message.get("tool_calls", ())
        ]
        choices.append((message["content"] or "", calls, choice.get("finish")))
    return {"choices": choices, "usage": answer["usage"]}


def check_sent(items: list[Message], messages: list[Message], this: Round) -> None:
    """The upstream was sent what the client said, all of it, and nothing else."""
    found = [item for item in map(_upstream_says, items) if item]
    wanted = [item for item in _client_says(messages) if item]
    if count := instructed(this):
        place = next(at for at, one in enumerate(wanted) if one[0] != "developer")
        assert {role for role, _ in found[place : place + count]} == {"developer"}
        del found[place : place + count]
        while found[-1][0] == "developer":  # once more where it was not obeyed
            found.pop()
    assert _joined(found) == _joined(wanted), (found, wanted)
    sent = json.dumps(items)
    assert set(_CANARY.findall(sent)) <= set(_CANARY.findall(json.dumps(messages)))
    assert set(_THOUGHT.findall(sent)) <= {key_word(this.key)}


def instructed(this: Round) -> int:
    """How many instructions of its own the gateway has in the round."""
    return len({"tool_choice", "response_format"} & this.options.keys())


def key_word(key: str) -> str:
    return re.sub(r"\W", "", key)


def _upstream_says(item: Message) -> Any:
    match item["type"]:
        case "message":
            # A client need not send a refusal back, and an upstream that holds the answer itself has it all the same.
            parts = [part for part in item["content"] if part["type"] != "refusal"]
            texts = (part.get("text", part["type"]) for part in parts)
            return item["role"], _squeezed("".join(texts))
        case "function_call":
            return "call", item["name"], _value(item["arguments"])
        case "function_call_output":
            output = item["output"]
            if isinstance(output, list):
                output = "".join(part["text"] for part in output)
            return "result", output
    return None


def _client_says(messages: list[Message]) -> list[Any]:
    found: list[Any] = []
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "input_image") for part in content)
        if message["role"] == "tool":
            found.append(("result", content))
            continue
        if content or not message.get("tool_calls"):
            role = "developer" if message["role"] == "system" else message["role"]
            found.append((role, _squeezed(content)))
        functions = [made["function"] for made in message.get("tool_calls") or ()]
        found += [("call", it["name"], _value(it["arguments"])) for it in functions]
    return found


def _joined(said: list[Any]) -> list[Any]:
    """Each answer as one message and its calls: a client has no way to say in which order they came."""
    found: list[Any] = []
    text, calls = "", list[Any]()
    for one in [*said, ("end", "")]:
        if one[0] == "assistant":
            text += one[1]
        elif one[0] == "call":
            calls.append(one)
        else:
            found += [("assistant", text)] * bool(text) + calls + [one]
            text, calls = "", []
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _value(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
