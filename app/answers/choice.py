"""Choice of an answer in the making: a turn's events in, chunks out. Pure.

This is where the gateway does what codex has no way to do: it cuts at stop sequences and at `max_tokens`, ends the
answer once the model's tool calls are complete, and insists on a tool call or on JSON where the caller did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from app.answers.call_ids import stand_in
from app.answers.choice_text import ChoiceText
from app.answers.chunks import (
    CallArguments,
    CallBegan,
    Cause,
    Chunk,
    Ended,
    ItemEnded,
    Rerouted,
    Working,
)
from app.answers.constraints import AnswerConstraints
from app.answers.output_format import Accepted, Problem
from app.answers.turn_errors import end_cause
from app.backend.events import (
    Event,
    MessageBegan,
    ModelRerouted,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    TextDelta,
    TextRun,
    TurnEnded,
    Usage,
    UsageUpdated,
)
from app.backend.request import Item
from app.errors import UpstreamError

_ASSISTANT = "assistant"
_REFUSED = (
    "The model gave no answer. It probably refused; its own words are not passed on by codex."
)


Run = Callable[[Callable[[str], Accepted | Problem], str], Accepted | Problem]
"""Calls a function that may take long and returns what it returns; other greenlets may run meanwhile."""


def run_here(function: Callable[[str], Accepted | Problem], text: str) -> Accepted | Problem:
    """Call it in this thread."""
    return function(text)


class RetryWithInstruction(Exception):
    """No error: the answer missed a constraint, and `instruction` says so to the model, for one more try."""

    def __init__(self, instruction: str) -> None:
        super().__init__(instruction)
        self.instruction = instruction


class Choice:
    """One choice: feed it the events of its turn until `is_complete`. `usage` and `cause` are set by then.

    `run` calls the check of a whole answer, which may take long.
    """

    # There is one for every open stream.
    __slots__ = (
        "_called",
        "_constraints",
        "_has_asked_again",
        "_run",
        "_spent",
        "_text",
        "_working",
        "call_ids",
        "cause",
        "index",
        "is_complete",
        "is_usage_estimated",
        "items",
        "rerouted_to",
        "usage",
    )

    def __init__(self, index: int, constraints: AnswerConstraints, run: Run = run_here) -> None:
        self.index = index
        self.is_complete = False
        self.usage: Usage | None = None
        self.is_usage_estimated = False
        self.cause: Cause | None = None
        self.rerouted_to: str | None = None
        self._constraints, self._run = constraints, run
        self._working = Working(index)  # one for all: there may be very many
        self._has_asked_again = False
        self._spent: list[Usage] = []
        self.reset()

    def reset(self) -> None:
        """Forget what the turn said: it failed, and another one takes its place."""
        self.usage = self.rerouted_to = None
        self.items: list[Item] = []
        """What the upstream has made of it, in order; calls have the ids that the client knows them by."""
        self.call_ids: list[str] = []
        self._called = 0  # characters of calls, for the estimate
        self._text = ChoiceText(self.index, self._constraints)

    def fall_back(self) -> str | None:
        """Take the output format for upstreams that refuse the first, if there is one; return its instruction."""
        otherwise = self._constraints.output.otherwise
        if otherwise is None:
            return None
        self._constraints = replace(self._constraints, output=otherwise)
        return otherwise.instruction

    @property
    def holds_text(self) -> bool:
        """Text is held back while it is not certain that the answer will stand."""
        return self._constraints.holds_text

    @property
    def takes_runs(self) -> bool:
        """Pieces of text that came together may be fed as one event."""
        return self._text.is_plain

    def feed(self, event: Event) -> list[Chunk]:
        """Return what `event` adds. Raises `GatewayError` for a failed end, `RetryWithInstruction`."""
        if self.is_complete:
            return []
        match event:
            case TextRun():
                return self._on_run(event)
            case TextDelta(item_id=item_id, text=text):
                return self._on_text(item_id, text)
            case ReasoningDelta():
                return self._text.think(event)
            case MessageBegan(item_id=item_id, phase=phase):
                return self._text.begin_message(item_id, phase)
            case RawItem(item=item):
                return self._on_item(item)
            case ResponseCompleted() | UsageUpdated() | ModelRerouted() | TurnEnded():
                return self._on_news(event)
        return []

    def _on_run(self, run: TextRun) -> list[Chunk]:
        """Take pieces as a whole where each only goes through, as nearly always, else one by one."""
        limit = self._constraints.max_tokens
        if limit is None or self._text.pieces + len(run.texts) <= limit:
            whole = self._text.say_run(run.item_id, run.texts)
            if whole is not None:
                return [whole]
        return [chunk for piece in run.pieces() for chunk in self.feed(piece)]

    def _on_text(self, item_id: str, text: str) -> list[Chunk]:
        limit = self._constraints.max_tokens
        if limit is not None and self._text.pieces >= limit:
            # Every delta holds a token at least, so this one is beyond the limit and none before it was.
            return self._finish(Cause.TOKEN_LIMIT)
        chunks = self._text.say(item_id, text)
        return self._unless_stopped(chunks) if self._constraints.stops else chunks

    def _unless_stopped(self, chunks: list[Chunk]) -> list[Chunk]:
        """Return the chunks, and the end after them if a stop sequence was complete."""
        if not self._text.is_stopped:
            return chunks
        self._check_constraints()
        return [*chunks, *self._finish(Cause.STOP_SEQUENCE)]

    # Items that are whole

    def _on_item(self, item: Mapping[str, Any]) -> list[Chunk]:
        kind = item.get("type")
        if kind == "reasoning":
            self.items.append(item)
            return self._text.end_thought(item)
        if kind == "function_call" and self._constraints.offers_tools:
            return self._on_call(item)
        # codex also tells of messages that it adds itself, in other roles.
        if kind == "message" and item.get("role", _ASSISTANT) == _ASSISTANT:
            self.items.append(item)
            return self._unless_stopped(self._text.end_message(item))
        return [self._working]

    def _on_call(self, item: Mapping[str, Any]) -> list[Chunk]:
        chunks = self._unless_stopped(self._text.end())
        if self.is_complete:
            return chunks
        called = str(item.get("name", ""))
        name = self._constraints.names.get(called, called)
        call_id, arguments = str(item.get("call_id") or ""), str(item.get("arguments", ""))
        if not call_id or call_id in self.call_ids:
            call_id = stand_in(item.get("id"), call_id, len(self.call_ids))
        self.call_ids.append(call_id)
        self.items.append({**item, "call_id": call_id})
        self._called += len(name) + len(arguments)
        chunks += [
            CallBegan(self.index, call_id, name),
            CallArguments(self.index, arguments),
            ItemEnded(self.index, item),
        ]
        if not self._constraints.parallel_calls:
            return [*chunks, *self._finish(Cause.CALLS)]
        return chunks

    # News, and ends

    def _on_news(
        self, event: ResponseCompleted | UsageUpdated | ModelRerouted | TurnEnded
    ) -> list[Chunk]:
        if isinstance(event, TurnEnded):
            return self._on_end(event)
        if isinstance(event, ModelRerouted):
            self.rerouted_to = event.model
            return [Rerouted(self.index, event.model)]
        if isinstance(event, UsageUpdated):
            self.usage = event.usage
        elif self.call_ids:
            self.usage = event.usage
            return self._finish(Cause.CALLS)
        return []

    def _on_end(self, ended: TurnEnded) -> list[Chunk]:
        cause = end_cause(ended)
        if cause is Cause.FINISHED and self._said_nothing:
            # codex drops the text of a refusal; an empty answer without a word would hide that there was one.
            return [*self._text.refuse(_REFUSED), *self._finish(cause)]
        if cause is Cause.FINISHED and self.call_ids:
            cause = Cause.CALLS  # codex ended the turn before it told that the response was whole
        if cause is not Cause.FINISHED or self._text.refused:
            return self._finish(cause)
        chunks = self._unless_stopped(self._text.let_all_go())
        if self.is_complete:
            return chunks
        self._check_constraints()
        return [*chunks, *self._finish(cause)]

    @property
    def _said_nothing(self) -> bool:
        text = self._text
        if text.pieces or text.refused or self.call_ids or self._constraints.requires_tool:
            return False
        return self.usage is not None and self.usage.output > self.usage.reasoning_output

    def _check_constraints(self) -> None:
        """Raise `RetryWithInstruction`, or `UpstreamError` the second time, if the answer is not what was asked for."""
        missed = None
        if self._constraints.requires_tool and not self.call_ids:
            missed = "You must call one of the functions now, and say nothing else."
        elif self._constraints.checks_output:
            missed = self._check_output()
        if missed is None:
            return
        if self._has_asked_again:
            raise UpstreamError("The model did not answer in the form that was asked for.")
        self._has_asked_again = True
        if self.usage is not None:
            self._spent.append(self.usage)  # the first try was paid for, too
        self.reset()
        raise RetryWithInstruction(missed)

    def _check_output(self) -> str | None:
        """Return what the model is told of a text in the wrong form; of any other, keep what is the answer."""
        text = self._text.held_text()
        verdict = self._run(self._constraints.output.accept, text)
        if isinstance(verdict, Problem):
            return f"Your answer was not accepted: {verdict.sentence}. Answer again, in the right form."
        if verdict.text != text:
            self._text.replace_held(verdict.text)
        return None

    def _finish(self, cause: Cause) -> list[Chunk]:
        """End the choice, maybe before codex does: the turn is then to be closed."""
        chunks = self._text.end()
        self.is_complete = True
        self.cause = cause
        if self.usage is None:
            self.is_usage_estimated = True
            prompt, output = self._constraints.prompt_tokens, self._text.pieces + self._called // 4
            self.usage = Usage(prompt, 0, output, 0, prompt + output)
        self.usage = sum(self._spent, start=self.usage)
        return [*chunks, Ended(self.index, cause)]
