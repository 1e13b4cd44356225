"""Draws of rounds for the programs of kept threads: what is asked, how it is answered, how a client echoes it. Pure.

Most rounds are calm: asked under the terms of their conversation and answered as usual, so that there is a kept thread
for what comes next. Every other one is a disturbance with one reason.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.e2e.talk import TOOL, Message, call, said
from tests.e2e.twins import Round, canary, key_word

OTHER_TOOL = {"type": "function", "function": {"name": "see", "parameters": {"type": "object"}}}
FORM = {"name": "form", "schema": {"type": "object", "properties": {"a": {}}}}
NAMED = {"type": "function", "function": {"name": "look"}}
FAILURES = ["rate_limited", "failed_invalid_prompt", "invalid_prompt"]
DELTAS = ["a", "It ", " is", "\n", "  ", "é", "漢", "STOP", "\U0001f680", "x" * 300]
ARGUMENTS = ["{}", '{"b": 2, "a": [1, {"c": null}]}', '{"n": 1e3, "u": "\\u00e9"}', "[1]", '"x"']
BAD_ARGUMENTS = ['{"a":', "", "NaN", '{"a":' * 300 + "1" + "}" * 300]
CALL_IDS = ["call_0", "call_1", "c" * 64, "c" * 80, "x y", "é"]
ALWAYS: list[dict[str, Any]] = [
    *[{}] * 8,
    {"tool_choice": "required"},
    {"tool_choice": NAMED},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": FORM}},
]
"""Instructions that a conversation has in every round."""
TERMS: list[dict[str, Any]] = [
    {"model": "gpt-5.6-sol"},
    {"reasoning_effort": "low"},
    {"reasoning_effort": "high"},
    {"verbosity": "low"},
    {"tools": []},
    {"tools": [TOOL, OTHER_TOOL]},
]
NAMES: list[dict[str, Any]] = [{"user": "a"}, {"user": "b"}]
CUTS: list[dict[str, Any]] = [
    {"stop": "STOP"},
    {"stop": ["é", "no"]},
    *[{"max_tokens": most} for most in range(1, 6)],
    {"parallel_tool_calls": False},
    {"n": 2},
]
KINDS = {
    "": ["text", "calls", "both"],
    "tool_choice": ["calls"],
    "response_format": ["json"],
}
"""Of calm answers, by the instruction of the conversation."""
ODD_KINDS = {
    "": ["odd"],
    "tool_choice": ["both", "text", "odd"],
    # Of several messages the client gets the last one alone, and the model all of them.
    "response_format": ["json and text", "text"],
}
DISTURBANCES = [
    "cut",
    "terms",
    "odd",
    "ids",
    "usage",
    "failure",
    "leave",
    "twice",
    "required",
    "wild",
]


def nothing(_: Message) -> None:
    """The answer comes back as it was."""


def stripped(message: Message) -> None:
    message["content"] = (message["content"] or "").strip() or None


def as_parts(message: Message) -> None:
    if message["content"]:
        message["content"] = [{"type": "text", "text": message["content"]}]


def bare(message: Message) -> None:
    for name in ("refusal", "annotations", "reasoning_content"):
        message.pop(name, None)


def arguments_anew(message: Message) -> None:
    for made in message.get("tool_calls", ()):
        try:
            value = json.loads(made["function"]["arguments"])
        except ValueError:
            continue
        made["function"]["arguments"] = json.dumps(value, indent=1, sort_keys=True)


ECHOES = [nothing, nothing, stripped, as_parts, bare, arguments_anew]


class RoundDraw:
    """Draws one round of a conversation; `disturbance` is what is not calm about it, if anything is."""

    def __init__(self, random: Random, key: str, always: dict[str, Any], disturbance: str) -> None:
        self._random, self._key, self._always = random, key, always
        self._disturbance = disturbance

    def round(self, terms: dict[str, Any]) -> Round:
        """`terms` are those of the conversation."""
        options = {**terms, **self._more(), **self._always}
        script = [self._response(bool(options["tools"]))]
        items = script[0]["items"]
        makes_more = sum(item.pop("makes_more", False) for item in items) > 0
        if self._is("required") and any(item["type"] == "function_call" for item in items):
            options["tool_choice"] = "required"
        if not options["tools"]:
            del options["tools"]
            options.pop("tool_choice", None)
        if (
            makes_more or "tools" not in options
        ):  # codex answers what was not offered, and asks again
            script.append({"items": [said(f"after all {canary()}")], "usage": self._usage()})
            options.pop("n", None)  # each choice would have the next response
        stream, leaves = self._random.random() < 0.5, self._is("leave")
        return Round(
            script,
            options,
            self._key,
            self._random.choice(ECHOES),
            picked=self._random.randrange(options.get("n", 1)),
            times=2 if self._is("twice") and len(script) == 1 else 1,
            stream=stream or leaves,
            leaves_after=self._random.randint(1, 6) if leaves else None,
        )

    def _is(self, name: str) -> bool:
        """True for that disturbance, and now and then in a wild round, which has several."""
        is_wild = self._disturbance == "wild" and self._random.random() < 0.2
        return is_wild or self._disturbance == name

    def _more(self) -> dict[str, Any]:
        more: dict[str, Any] = {}
        for name, choices in (("cut", CUTS), ("terms", TERMS), ("name", NAMES)):
            for _ in range(3 if self._disturbance == "wild" else 1):
                more |= self._random.choice(choices) if self._is(name) else {}
        return more

    def _response(self, has_tools: bool) -> dict[str, Any]:
        if self._is("failure"):
            return {"items": [], "failure": {"name": self._random.choice(FAILURES)}}
        kinds = (ODD_KINDS if self._is("odd") else KINDS)["".join(self._always)]
        kind = self._random.choice(kinds if has_tools or self._is("odd") else ["text"])
        return {"items": self._thought() + self._said(kind), "usage": self._usage()}

    def _thought(self) -> list[Message]:
        if self._random.random() < 0.5:
            return []
        thought = f"thought-of-{key_word(self._key)}"
        sealed = {"sealed": thought} if self._random.random() < 0.5 else {}
        return [{"type": "reasoning", "summary_deltas": [thought], **sealed}]

    def _said(self, kind: str) -> list[Message]:
        items: list[Message] = []
        if "json" in kind:
            items.append(said('{"a": "', canary(), '"}'))
        if "text" in kind or kind in {"both", "odd"}:
            items.append(said(canary(), *self._random.choices(DELTAS, k=self._random.randrange(7))))
        if kind in {"calls", "both"}:
            count = self._random.randint(1, 3)
            ids = [f"call-of-{canary()}{number}" for number in range(count)]
            if self._is("ids"):  # also such as were there before
                ids = self._random.sample(CALL_IDS, count)
            items += [call(one, self._random.choice(ARGUMENTS)) for one in ids]
        return items + (self._odd() if kind == "odd" else [])

    def _odd(self) -> list[Message]:
        more = {"makes_more": True}
        bad = {**call("call_5", self._random.choice(BAD_ARGUMENTS)), **more}
        found: list[list[Message]] = [
            [said(canary(), phase="final_answer")],
            [{**call("call_0"), **more}, {**call("call_0", '{"a": 1}'), **more}],
            [{**call("call_9"), "name": "unknown", **more}],
            [call("call_3"), said(canary())],
            [bad],
            [{"type": "message", "deltas": [], "refusal": "no"}],
            [said(canary(), phase="commentary"), said(canary(), phase="final_answer")],
            [{"type": "web_search_call", "id": "ws_1", "status": "completed"}],
            [{"type": "of_tomorrow", "id": "x_1", "text": "no canary"}],
        ]
        return self._random.choice(found)

    def _usage(self) -> dict[str, int]:
        """Return what the response has cost: else it would tell how long the model's thoughts are."""
        amount = self._random.randint
        tokens = amount(1_024, 300_000)
        if self._is("usage"):
            tokens = self._random.choice([amount(0, 1_500), 10**6, 10**12, -1])
        return {
            "input_tokens": tokens,
            "cached_tokens": amount(0, 300_000),
            "output_tokens": amount(0, 9_000),
            "reasoning_tokens": amount(0, 9_000),
        }
