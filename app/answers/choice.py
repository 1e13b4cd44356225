"""One choice of an answer in the making: codex's events in, chunks out. Pure.

This is where the gateway does what codex has no way to do: it cuts at stop sequences and at `max_tokens`, ends the
answer once the model's tool calls are complete, and insists on a tool call or on JSON where the caller did.
A delta's text goes out exactly as it came: never merged with another, never compared with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.answers.chunks import Chunk, Content, Finish, Reasoning, Refusal, ToolCall
from app.answers.constraints import AnswerConstraints
from app.answers.stop_sequences import StopFilter
from app.answers.turn_errors import finish_reason
from app.backend.events import (
    Event,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    TextDelta,
    TurnEnded,
    Usage,
    UsageUpdated,
)
from app.errors import UpstreamBrokeOff, UpstreamError

_REFUSED = (
    "The model gave no answer. It probably refused; its own words are not passed on by codex."
)


class RetryWithInstruction(Exception):
    """Not an error. The model did not do what was asked; `instruction` says so to it, for one more try."""

    def __init__(self, instruction: str) -> None:
        super().__init__(instruction)
        self.instruction = instruction


class Choice:
    """Feed it the events of its turn until `is_complete`. `usage` and `finish_reason` are set by then."""

    def __init__(self, index: int, rules: AnswerConstraints) -> None:
        self.index = index
        self.is_complete = False
        self.usage: Usage | None = None
        self.is_usage_estimated = False
        self.finish_reason: str | None = None
        self.reasoning_items: list[Mapping[str, Any]] = []
        self.call_ids: list[str] = []
        self._rules = rules
        self._has_asked_again = False
        self._spent: list[Usage] = []
        self._begin()

    def _begin(self) -> None:
        self._stop = StopFilter(self._rules.stops)
        self._deltas = 0
        self._called = 0  # characters of calls, for the estimate
        self._texts: list[str] = []
        self._refused = False
        self._open_item: str | None = None  # the message whose text is coming, until it is whole

    def begin_anew(self) -> None:
        """Forget what the turn said: it failed, and another one takes its place."""
        self.usage = None
        self.reasoning_items, self.call_ids = [], []
        self._begin()

    @property
    def holds_text(self) -> bool:
        """Text is kept back while it is not certain that the answer will stand."""
        return self._rules.requires_tool or self._rules.checks_output

    def feed(self, event: Event) -> list[Chunk]:
        """Return what `event` adds. Raises `GatewayError` for a failed end, `RetryWithInstruction`."""
        if self.is_complete:
            return []
        match event:
            case TextDelta(item_id=item_id, text=text):
                self._check_item(item_id)
                return self._on_text(text)
            case ReasoningDelta(text=text) if self._rules.shows_reasoning:
                return [Reasoning(self.index, text)]
            case RawItem(item=item):
                return self._on_item(item)
            case ResponseCompleted(usage=usage):
                return self._on_response(usage)
            case TurnEnded():
                return self._on_end(event)
            case UsageUpdated(usage=usage):
                self.usage = usage
        return []

    # Text

    def _check_item(self, item_id: str) -> None:
        # Where its connection broke, codex may ask the upstream anew by itself: the answer then begins once more, as
        # another message, while the first was never finished.
        if self._open_item not in (None, item_id):
            raise UpstreamBrokeOff("The upstream broke off its answer.")
        self._open_item = item_id

    def _on_text(self, text: str) -> list[Chunk]:
        limit = self._rules.max_tokens
        if limit is not None and self._deltas >= limit:
            # Every delta holds a token at least, so this one is beyond the limit and none before it was.
            return [*self._let_out(self._stop.flush()), *self._finish_early("length")]
        self._deltas += 1
        chunks = self._let_out(self._stop.feed(text))
        if not self._stop.hit:
            return chunks
        self._check_task()
        return [*chunks, *self._finish_early("stop")]

    def _let_out(self, text: str) -> list[Chunk]:
        if not text:
            return []
        if self.holds_text:
            self._texts.append(text)
            return []
        return [Content(self.index, text)]

    def _held_text(self) -> list[Chunk]:
        texts, self._texts = self._texts, []
        return [Content(self.index, text) for text in texts]

    # Items: calls, refusals, reasoning to be given back

    def _on_item(self, item: Mapping[str, Any]) -> list[Chunk]:
        kind = item.get("type")
        sealed = item.get("encrypted_content")
        if kind == "reasoning" and isinstance(sealed, str) and sealed:
            self.reasoning_items.append(item)
        if kind == "function_call" and self._rules.offers_tools:
            return self._on_call(item)
        if kind == "message":
            return self._on_message(item)
        return []

    def _on_call(self, item: Mapping[str, Any]) -> list[Chunk]:
        called = str(item.get("name", ""))
        call = ToolCall(
            self.index,
            len(self.call_ids),
            str(item.get("call_id", "")),
            self._rules.names.get(called, called),
            str(item.get("arguments", "")),
        )
        self.call_ids.append(call.call_id)
        self._called += len(call.name) + len(call.arguments)
        chunks = [*self._let_out(self._stop.flush()), *self._held_text(), call]
        if not self._rules.parallel_calls:
            return [*chunks, *self._finish_early("tool_calls")]
        return chunks

    def _on_message(self, item: Mapping[str, Any]) -> list[Chunk]:
        self._open_item = None
        # codex has no delta for a refusal; without this the answer would be empty without a word.
        parts = item.get("content")
        refusals = [
            str(part.get("refusal"))
            for part in (parts if isinstance(parts, list) else ())
            if isinstance(part, Mapping) and part.get("type") == "refusal"
        ]
        self._refused = self._refused or bool(refusals)
        return [Refusal(self.index, text) for text in refusals]

    # Ends

    def _on_response(self, usage: Usage | None) -> list[Chunk]:
        if not self.call_ids:
            return []
        self.usage = usage
        return self._finish_early("tool_calls")

    def _on_end(self, ended: TurnEnded) -> list[Chunk]:
        reason = finish_reason(ended)
        chunks = self._let_out(self._stop.flush())
        if reason == "stop" and self._said_nothing:
            # codex drops the text of a refusal; an empty answer without a word would hide that there was one.
            return [Refusal(self.index, _REFUSED), *self._finish(reason)]
        if reason == "stop" and self.call_ids:
            reason = "tool_calls"  # codex ended the turn before it told that the response was whole
        if reason == "stop" and not self._refused:
            self._check_task()
        return [*chunks, *self._held_text(), *self._finish(reason)]

    @property
    def _said_nothing(self) -> bool:
        if self._deltas or self._refused or self.call_ids or self._rules.requires_tool:
            return False
        return self.usage is not None and self.usage.output > self.usage.reasoning_output

    def _check_task(self) -> None:
        """Raise `RetryWithInstruction`, or `UpstreamError` the second time, if the answer is not what was asked for."""
        missed = None
        if self._rules.requires_tool and not self.call_ids:
            missed = "You must call one of the functions now, and say nothing else."
        elif self._rules.checks_output:
            problem = self._rules.output.problem("".join(self._texts))
            missed = (
                problem
                and f"Your answer was not accepted: {problem}. Answer again, in the right form."
            )
        if missed is None:
            return
        if self._has_asked_again:
            raise UpstreamError("The model did not answer in the form that was asked for.")
        self._has_asked_again = True
        if self.usage is not None:
            self._spent.append(self.usage)  # the first try was paid for, too
        self.begin_anew()
        raise RetryWithInstruction(missed)

    def _finish_early(self, reason: str) -> list[Chunk]:
        """End before codex does; the turn is interrupted by whoever drives it."""
        return [*self._held_text(), *self._finish(reason)]

    def _finish(self, reason: str) -> list[Chunk]:
        self.is_complete = True
        self.finish_reason = reason
        if self.usage is None:
            self.is_usage_estimated = True
            prompt, output = self._rules.prompt_tokens, self._deltas + self._called // 4
            self.usage = Usage(prompt, 0, output, 0, prompt + output)
        self.usage = _sum(self.usage, *self._spent)
        return [Finish(self.index, reason)]


def _sum(*usages: Usage) -> Usage:
    return Usage(
        input=sum(usage.input for usage in usages),
        cached_input=sum(usage.cached_input for usage in usages),
        output=sum(usage.output for usage in usages),
        reasoning_output=sum(usage.reasoning_output for usage in usages),
        total=sum(usage.total for usage in usages),
    )
