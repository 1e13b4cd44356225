"""Model of kept threads: how many turns of a round have to go on with one, and how many may. Pure.

It knows conversations as the client has them and what the upstream was scripted to say, and nothing of marks, items or
codex. A thread is certain if nothing but the next request can end it; of others nothing is demanded, but they may be
the reason why a round goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Token = tuple[Any, ...]
_ANSWER = frozenset({"assistant", "call"})
_TERMS = ("model", "reasoning_effort", "verbosity", "tools")
_INSTRUCTIONS = ("tool_choice", "response_format")
_CUTS = frozenset({"stop", "max_tokens", "parallel_tool_calls"})
_CACHED_TOKENS = 1024  # a thread of fewer is given up first
_COMPACTED_TOKENS = 1 << 31  # one of more is not kept


@dataclass(frozen=True)
class Asked:
    """A request: whose it is, under which terms and name, and the conversation that it brings."""

    terms: Token
    story: list[Token]


@dataclass(eq=False)
class _Thread:
    """What a thread holds. Without an `answer` the model knows that there is one, but not which."""

    asked: Asked
    answer: list[Token] | None
    is_certain: bool

    def end_in(self, asked: Asked) -> int:
        """Return after how many tokens of a request it stands; 0 if that request cannot go on with it."""
        start, story = len(self.asked.story), asked.story
        if self.asked.terms != asked.terms or story[:start] != self.asked.story:
            return 0
        end = start
        while end < len(story) and story[end][0] in _ANSWER:
            end += 1
        answer = story[start:end]
        if not answer or end == len(story) or self.answer not in (None, answer):
            return 0
        calls = sum(token[0] == "call" for token in answer)
        return end if not calls or _are_results(story[end:], calls) else 0


def _are_results(new: Sequence[Token], calls: int) -> bool:
    """Results of all calls in their order, and nothing but questions behind them."""
    are_in_order = [token[:2] for token in new[:calls]] == [("result", at) for at in range(calls)]
    return are_in_order and all(token[0] in {"user", "system"} for token in new[calls:])


class KeptModel:
    """The threads of one program."""

    def __init__(self) -> None:
        self._threads: list[_Thread] = []

    def bounds(self, asked: Asked, turns: int) -> tuple[int, int]:
        """Return how many of so many turns at once have to go on, and how many may."""
        found = self._found(asked)
        return min(turns, sum(one.is_certain for one in found)), min(turns, len(found))

    def went_on(self, asked: Asked, turns: int, count: int | None) -> None:
        """Note how many of them did; None if that cannot be seen."""
        found = self._found(asked)
        if count is None and all(one.is_certain for one in found):
            count = min(turns, len(found))
        if count is not None and (count < turns or count == len(found)):
            gone = found
        elif count is not None and all(one.is_certain for one in found[:count]):
            gone = found[:count]
        else:  # some of them, but who knows which
            gone = []
            for one in found:
                one.is_certain = False
        self._threads = [one for one in self._threads if one not in gone]

    def keep(
        self, asked: Asked, response: dict[str, Any], options: dict[str, Any], turns: int
    ) -> None:
        """Note that so many turns may have left a thread each, with what the upstream was scripted to say."""
        answer = None
        is_certain = False
        if is_plain(response["items"], options):
            answer = _scripted(response["items"])
            # Where the client may get less than the model says, the turn may be interrupted.
            is_certain = _CUTS.isdisjoint(options) and _is_worth_keeping(response["usage"])
        # Of answers that are the same, the next request brings the thoughts of one.
        self._threads += [
            _Thread(asked, answer, is_certain=is_certain and not turn) for turn in range(turns)
        ]

    def holds(self, asked: Asked) -> bool:
        """Return True if a thread surely stands where a conversation ends, or waits for the results that come next."""
        story = list(asked.story)
        while story and story[-1][0] == "result":
            story.pop()
        return any(
            one.is_certain
            and one.asked.terms == asked.terms
            and [*one.asked.story, *(one.answer or [])] == story
            for one in self._threads
        )

    def _found(self, asked: Asked) -> list[_Thread]:
        """Return those that a request can go on with, in the order in which they are taken."""
        ends = [(one.end_in(asked), place, one) for place, one in enumerate(self._threads)]
        return [one for end, _, one in sorted(ends, key=lambda it: it[:2], reverse=True) if end]


# What is said


def asked(key: str, options: dict[str, Any], messages: Sequence[dict[str, Any]]) -> Asked:
    """Return what the model knows of a request."""
    settings = {name: options[name] for name in _TERMS if options.get(name)}
    if isinstance(named := options.get("tool_choice"), dict):  # the only one that is offered then
        settings["tools"] = named
    told = {name: options[name] for name in _INSTRUCTIONS if name in options}
    instructions: list[Token] = [("told", _written(told))] if told else []
    return Asked((key, _written(settings), options.get("user")), instructions + _story(messages))


def _story(messages: Sequence[dict[str, Any]]) -> list[Token]:
    found: list[Token] = []
    ids: list[str] = []
    for message in messages:
        content = message["content"] or ""
        match message["role"]:
            case "tool":
                found.append(("result", ids.index(message["tool_call_id"]), _written(content)))
            case "assistant":
                made = message.get("tool_calls") or []
                ids = [one["id"] for one in made]
                if isinstance(content, list):
                    content = "".join(part["text"] for part in content)
                found += _answer(content, [one["function"] for one in made])
            case role:
                found.append((role, _written(content)))
    return found


def _scripted(items: Sequence[dict[str, Any]]) -> list[Token]:
    """Return what the upstream says with these items."""
    text = "".join(delta for item in items for delta in item.get("deltas", ()))
    return _answer(text, [item for item in items if item["type"] == "function_call"])


def _answer(text: str, calls: Sequence[dict[str, Any]]) -> list[Token]:
    said: list[Token] = [("assistant", "".join(text.split()))] if text.strip() else []
    return said + [("call", one["name"], _value(one["arguments"])) for one in calls]


def _value(arguments: str) -> str:
    try:
        return _written(json.loads(arguments))
    except ValueError:
        return arguments


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


# What comes of an answer


def is_plain(items: Sequence[dict[str, Any]], options: dict[str, Any]) -> bool:
    """True for an answer that says what was asked for: a thought, a message and calls of the client's, as they come."""
    said = [item for item in items if item["type"] != "reasoning"]
    messages = [item for item in said if item["type"] == "message"]
    calls = [item for item in said if item["type"] == "function_call"]
    if not said or said != messages + calls or len(messages) > 1:
        return False
    if any(item.get("phase") or item.get("refusal") for item in messages):
        return False
    if calls and not (options.get("tools") and all(map(_is_usual, calls))):
        return False
    if "response_format" in options:
        return not calls and _is_json("".join(messages[0]["deltas"]))
    return not messages if "tool_choice" in options else True


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)


def _is_usual(call: dict[str, Any]) -> bool:
    is_known = call["name"] == "look" and call["call_id"].startswith("call-of-")
    return is_known and _is_json(call["arguments"])


def _is_worth_keeping(usage: dict[str, int]) -> bool:
    """True if a thread that has cost so much is neither the first to be given up nor too long to be kept."""
    return _CACHED_TOKENS <= usage["input_tokens"] + usage["output_tokens"] < _COMPACTED_TOKENS
