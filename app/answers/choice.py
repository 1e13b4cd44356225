"""Choice of an answer in the making: a turn's events in, chunks out. Pure.

This is where the gateway does what codex has no way to do: it cuts at stop sequences and at `max_tokens`, ends the
answer once the model's tool calls are complete, and insists on a tool call or on JSON where the caller did.
A delta's text goes out exactly as it came: never merged with another, never compared with one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.answers.chunks import (
    CallArguments,
    CallBegan,
    Cause,
    Chunk,
    Ended,
    ItemBegan,
    ItemEnded,
    ItemKind,
    ReasoningText,
    Refusal,
    Rerouted,
    Text,
    Working,
)
from app.answers.constraints import AnswerConstraints
from app.answers.stop_sequences import StopFilter
from app.answers.turn_errors import end_cause
from app.backend.events import (
    Event,
    ModelRerouted,
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


Run = Callable[[Callable[[str], str | None], tuple[str]], str | None]
"""Calls a function that may take long and returns what it returns; other greenlets may run meanwhile."""


def run_here(function: Callable[[str], str | None], args: tuple[str]) -> str | None:
    """Call it in this thread."""
    return function(*args)


class RetryWithInstruction(Exception):
    """No error: the answer missed a constraint, and `instruction` says so to the model, for one more try."""

    def __init__(self, instruction: str) -> None:
        super().__init__(instruction)
        self.instruction = instruction


class Choice:
    """One choice: feed it the events of its turn until `is_complete`. `usage` and `cause` are set by then.

    `run` calls the check of a whole answer, which may take long.
    """

    def __init__(self, index: int, constraints: AnswerConstraints, run: Run = run_here) -> None:
        self.index = index
        self.is_complete = False
        self.usage: Usage | None = None
        self.is_usage_estimated = False
        self.cause: Cause | None = None
        self.rerouted_to: str | None = None
        self.reasoning_items: list[Mapping[str, Any]] = []
        self.call_ids: list[str] = []
        self._constraints, self._run = constraints, run
        self._working = Working(index)  # one for all: there may be very many
        self._has_asked_again = False
        self._spent: list[Usage] = []
        self._begin()

    def _begin(self) -> None:
        self._stop = StopFilter(self._constraints.stops)
        self._deltas = 0
        self._called = 0  # characters of calls, for the estimate
        self._held: list[Chunk] = []  # while it is not certain that the answer will stand
        self._refused = False
        self._open: ItemKind | None = None
        self._open_message: str | None = None
        """Id of the message whose text is coming, until it is whole."""

    def reset(self) -> None:
        """Forget what the turn said: it failed, and another one takes its place."""
        self.usage = self.rerouted_to = None
        self.reasoning_items, self.call_ids = [], []
        self._begin()

    @property
    def holds_text(self) -> bool:
        """Text is held back while it is not certain that the answer will stand."""
        return self._constraints.requires_tool or self._constraints.checks_output

    def feed(self, event: Event) -> list[Chunk]:
        """Return what `event` adds. Raises `GatewayError` for a failed end, `RetryWithInstruction`."""
        if self.is_complete:
            return []
        match event:
            case TextDelta(item_id=item_id, text=text):
                return self._on_text(item_id, text)
            case ReasoningDelta(text=text):
                return self._on_reasoning(text)
            case RawItem(item=item):
                return self._on_item(item)
            case ResponseCompleted(usage=usage):
                return self._on_response(usage)
            case TurnEnded():
                return self._on_end(event)
            case UsageUpdated() | ModelRerouted():
                return self._on_news(event)
        return []

    def _on_news(self, event: UsageUpdated | ModelRerouted) -> list[Chunk]:
        if isinstance(event, UsageUpdated):
            self.usage = event.usage
            return []
        self.rerouted_to = event.model
        return [Rerouted(self.index, event.model)]

    # Items: at most one is open at a time

    def _begin_item(self, kind: ItemKind, item_id: str = "") -> list[Chunk]:
        if self._open is kind:
            return []
        ended = self._end_item()
        self._open = kind
        return [*ended, *self._emit(ItemBegan(self.index, kind, item_id))]

    def _end_item(self, raw: Mapping[str, Any] | None = None) -> list[Chunk]:
        ended, self._open = self._open, None
        if ended is None:
            return []
        if ended is ItemKind.REASONING:
            return [ItemEnded(self.index, raw)]
        return [*self._flush(), *self._emit(ItemEnded(self.index, raw))]

    def _emit(self, chunk: Chunk) -> list[Chunk]:
        """Return a chunk of a message, unless it has to be held back."""
        if not self.holds_text:
            return [chunk]
        self._held.append(chunk)
        return [self._working]

    def _release(self) -> list[Chunk]:
        held, self._held = self._held, []
        return held

    # Text

    def _on_text(self, item_id: str, text: str) -> list[Chunk]:
        # Where its connection broke, codex may ask the upstream anew by itself: the answer then begins once more, as
        # another message, while the first was never finished.
        if self._open_message not in (None, item_id):
            raise UpstreamBrokeOff("The upstream broke off its answer.")
        limit = self._constraints.max_tokens
        if limit is not None and self._deltas >= limit:
            # Every delta holds a token at least, so this one is beyond the limit and none before it was.
            return self._finish(Cause.TOKEN_LIMIT)
        self._deltas += 1
        self._open_message = item_id
        is_open = self._open is ItemKind.MESSAGE
        chunks = [] if is_open else self._begin_item(ItemKind.MESSAGE, item_id)
        if passed := self._stop.feed(text):
            chunks += self._emit(Text(self.index, passed))
        if not self._stop.hit:
            return chunks
        self._check_constraints()
        return [*chunks, *self._finish(Cause.STOP_SEQUENCE)]

    def _flush(self) -> list[Chunk]:
        text = self._stop.flush()
        return self._emit(Text(self.index, text)) if text else []

    def _on_reasoning(self, text: str) -> list[Chunk]:
        if not self._constraints.shows_reasoning:
            return [self._working]
        # What the model thinks is shown at once, also where its text is held back.
        began: list[Chunk] = []
        if self._open is None:
            self._open = ItemKind.REASONING
            began = [ItemBegan(self.index, ItemKind.REASONING)]
        return [*began, ReasoningText(self.index, text)]

    # Items that are whole: calls, refusals, reasoning to be given back

    def _on_item(self, item: Mapping[str, Any]) -> list[Chunk]:
        kind = item.get("type")
        if kind == "reasoning":
            return self._on_reasoning_item(item)
        if kind == "function_call" and self._constraints.offers_tools:
            return self._on_call(item)
        if kind == "message":
            return self._on_message(item)
        return [self._working]

    def _on_reasoning_item(self, item: Mapping[str, Any]) -> list[Chunk]:
        sealed = item.get("encrypted_content")
        if isinstance(sealed, str) and sealed:
            self.reasoning_items.append(item)
        return self._end_item(item) if self._open is ItemKind.REASONING else [self._working]

    def _on_call(self, item: Mapping[str, Any]) -> list[Chunk]:
        called = str(item.get("name", ""))
        name = self._constraints.names.get(called, called)
        call_id, arguments = str(item.get("call_id", "")), str(item.get("arguments", ""))
        self.call_ids.append(call_id)
        self._called += len(name) + len(arguments)
        chunks = [*self._end_item(), *self._release()]
        chunks += [
            CallBegan(self.index, call_id, name),
            CallArguments(self.index, arguments),
            ItemEnded(self.index, item),
        ]
        if not self._constraints.parallel_calls:
            return [*chunks, *self._finish(Cause.CALLS)]
        return chunks

    def _on_message(self, item: Mapping[str, Any]) -> list[Chunk]:
        self._open_message = None
        # codex has no delta for a refusal; without this the answer would be empty without a word.
        parts = item.get("content")
        refusals = [
            str(part.get("refusal"))
            for part in (parts if isinstance(parts, list) else ())
            if isinstance(part, Mapping) and part.get("type") == "refusal"
        ]
        self._refused = self._refused or bool(refusals)
        if not refusals:
            # A client sees one text: a stop sequence may begin in one message and end in the next.
            is_whole = self._open is ItemKind.MESSAGE and not self._stop.is_holding
            return self._end_item(item) if is_whole else [self._working]
        return [*self._refuse(*refusals), *self._end_item(item)]

    def _refuse(self, *texts: str) -> list[Chunk]:
        chunks = [*self._begin_item(ItemKind.MESSAGE), *self._flush()]
        chunks += self._release()  # a refusal is not checked, so that nothing need be held any more
        return [*chunks, *(Refusal(self.index, text) for text in texts)]

    # Ends

    def _on_response(self, usage: Usage | None) -> list[Chunk]:
        if not self.call_ids:
            return []
        self.usage = usage
        return self._finish(Cause.CALLS)

    def _on_end(self, ended: TurnEnded) -> list[Chunk]:
        cause = end_cause(ended)
        if cause is Cause.FINISHED and self._said_nothing:
            # codex drops the text of a refusal; an empty answer without a word would hide that there was one.
            return [*self._refuse(_REFUSED), *self._finish(cause)]
        if cause is Cause.FINISHED and self.call_ids:
            cause = Cause.CALLS  # codex ended the turn before it told that the response was whole
        if cause is Cause.FINISHED and not self._refused:
            flushed = self._flush()
            self._check_constraints()
            return [*flushed, *self._finish(cause)]
        return self._finish(cause)

    @property
    def _said_nothing(self) -> bool:
        if self._deltas or self._refused or self.call_ids or self._constraints.requires_tool:
            return False
        return self.usage is not None and self.usage.output > self.usage.reasoning_output

    def _check_constraints(self) -> None:
        """Raise `RetryWithInstruction`, or `UpstreamError` the second time, if the answer is not what was asked for."""
        missed = None
        if self._constraints.requires_tool and not self.call_ids:
            missed = "You must call one of the functions now, and say nothing else."
        elif self._constraints.checks_output:
            text = "".join(chunk.text for chunk in self._held if isinstance(chunk, Text))
            problem = self._run(self._constraints.output.problem, (text,))
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
        self.reset()
        raise RetryWithInstruction(missed)

    def _finish(self, cause: Cause) -> list[Chunk]:
        """End the choice, maybe before codex does: the turn is then to be closed."""
        chunks = [*self._end_item(), *self._release()]
        self.is_complete = True
        self.cause = cause
        if self.usage is None:
            self.is_usage_estimated = True
            prompt, output = self._constraints.prompt_tokens, self._deltas + self._called // 4
            self.usage = Usage(prompt, 0, output, 0, prompt + output)
        self.usage = sum(self._spent, start=self.usage)
        return [*chunks, Ended(self.index, cause)]
