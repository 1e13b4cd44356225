"""Thread of the child: the turn on it, what it holds, and what it has cost.

A thread holds the conversation that it was given, and the answer once there is one. What it holds is known exactly, as
long as codex tells of nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from app.backend.events import (
    NO_USAGE,
    Event,
    ModelRerouted,
    RawItem,
    ResponseCompleted,
    TextRun,
    Usage,
    UsageUpdated,
)
from app.backend.observer import TurnState
from app.backend.request import Item, TurnRequest
from app.backends.app_server.conversation import NOTHING, Asked, Conversation, is_of_answer
from app.backends.app_server.history import Load, entry_bytes, is_light
from app.backends.app_server.parse_events import Addressed, TurnId
from app.backends.app_server.tool_calls import Answer, ToolCalls
from app.backends.app_server.turn import Turn
from app.budget import Reservation
from app.json_text import is_long

_ASSISTANT = "assistant"
_COMPACTED_TOKENS = 1 << 31
"""No model reads as much, and codex would compact the history of a thread that it takes to be as long."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a thread was asked under, apart from the conversation. Another request may go on with it under the same.

    codex keeps the `settings` of a thread from turn to turn, and the `schema` as long as a turn lasts. `name` is what
    the client calls the conversation, if it has a name for it. `tools` are a part of the settings; empty without any.
    """

    owner: str
    settings: bytes
    schema: bytes
    name: str | None = None
    tools: bytes = b""


def terms_of(request: TurnRequest, owner: str) -> tuple[Terms, int]:
    """Return the terms of a request by a key, and how many bytes its tools and its output schema are."""
    tools, schema = orjson.dumps(request.tools), orjson.dumps(request.output_schema)
    settings = (request.model, request.effort, request.summary, request.service_tier)
    asked = orjson.dumps((*settings, request.verbosity))
    offered = _digest(tools) if request.tools else b""
    terms = Terms(owner, _digest(asked, tools), _digest(schema), request.conversation, offered)
    return terms, len(tools) + len(schema)


def _digest(*texts: bytes) -> bytes:
    return blake2b(b"\0".join(texts), digest_size=16).digest()


class Thread:
    """One thread and the turn on it, which is the last one when it is kept.

    `size` is about how many bytes it costs the child, `held` what is set aside for them while a turn runs; `tokens` is
    how long the upstream found it to be. `is_suspect`
    says that a child that goes away may have done so because of it (`Load`). It is False that a turn `is_asked` for
    while the thread is given its history. `is_exact` is False once it holds what no request could bring.
    """

    # There is one for every open stream.
    __slots__ = (
        "_announced",
        "_answer",
        "_early",
        "_is_answered",
        "_is_resuming",
        "_responses",
        "_spent",
        "_total",
        "calls",
        "conversation",
        "counters",
        "held",
        "is_asked",
        "is_exact",
        "is_suspect",
        "kept_at",
        "size",
        "terms",
        "tokens",
        "turn",
    )

    def __init__(
        self,
        turn: Turn,
        terms: Terms,
        *,
        calls: ToolCalls | None = None,
        counters: Counter[str] | None = None,
    ) -> None:
        self.turn = turn
        self.terms = terms
        self.conversation = Conversation()
        self.calls = calls
        """The model's calls, where it was offered tools."""
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.size = self.tokens = 0
        self.held: Reservation | None = None
        self.is_suspect = False
        self.is_asked = False
        self.is_exact = False
        self.kept_at = 0.0
        self._answer: list[Item] = []  # that was not read yet
        self._announced: tuple[Item, ...] = ()  # that codex will tell of as of its own
        self._early: tuple[tuple[TurnId, Item], ...] = ()  # of which turn was not known yet
        self._is_answered = self._is_resuming = False
        self._spent = self._total = self._responses = NO_USAGE

    # What codex tells

    def deliver(self, addressed: Addressed) -> None:
        """Give the turn an event, unless codex only repeats what the thread was given.

        codex reports a thread's running total: the turn's usage is how much it grew.
        """
        turn_id, event = addressed.turn_id, addressed.event
        if self._early and not isinstance(event, RawItem):
            self._take_early(self.turn.turn_id or turn_id)
        told = self._told(turn_id, event)
        if told is None:
            return
        self._is_resuming = False
        self.turn.deliver(turn_id, told)

    def deliver_text(self, turn_id: TurnId, run: TextRun) -> None:
        """Give the turn pieces of text that came together."""
        if self._early:
            self._take_early(self.turn.turn_id or turn_id)
        self._is_resuming = False
        self.turn.deliver_text(turn_id, run)

    def _told(self, turn_id: TurnId, event: Event) -> Event | None:
        """Take an event; return what the turn is told of it, None for nothing."""
        match event:
            case RawItem():
                if not self.is_asked or self._is_repeated(turn_id, event):
                    return None
            case UsageUpdated(usage=total):
                self._total = total
                if self._is_resuming:
                    # Of the response before the results: it was told to a turn of its own.
                    return None
                return UsageUpdated(self._bounded(total - self._spent))
            case ResponseCompleted(usage=usage):
                return self._response_ended(usage)
            case ModelRerouted():
                # Another model's thoughts are of no use to the one that is asked next.
                self.is_exact = False
        return event

    def _response_ended(self, usage: Usage | None) -> ResponseCompleted:
        if self.calls is not None:
            self.calls.response_ended()
        if usage is None:
            return ResponseCompleted(None)
        self.is_exact = self.is_exact and usage.total < _COMPACTED_TOKENS
        self.tokens = usage.total
        self._responses += usage  # as codex adds it up, so that the next turn's growth is right
        return ResponseCompleted(self._bounded(usage))

    def _is_repeated(self, turn_id: TurnId, event: RawItem) -> bool:
        """Take an item, if it is of our turn; True if it is one that the thread was given."""
        if self.turn.turn_id is None:  # the answer to turn/start comes later
            self._early += ((turn_id, event.item),)
            return False
        self._take_early(self.turn.turn_id)
        return turn_id == self.turn.turn_id and not self._takes(event.item)

    def _take_early(self, our_turn_id: TurnId) -> None:
        early, self._early = self._early, ()
        for turn_id, item in early:
            if turn_id == our_turn_id:
                self._takes(item)

    def _takes(self, item: Item) -> bool:
        """Take an item that the thread holds from now on; False if it is one that it was given."""
        if is_of_answer(item) and item.get("role", _ASSISTANT) == _ASSISTANT:
            self._is_answered = True
            if self.is_exact:
                self._answer.append(item)
            if item.get("type") == "function_call" and self.calls is not None:
                self.calls.made(item)
            return True
        if item.get("type") == "function_call_output":
            is_known = self.calls is not None and self.calls.is_given(item)
        else:
            is_known = bool(self._announced) and _is_same(self._announced[0], item)
            self._announced = self._announced[is_known:]
        self.is_exact = self.is_exact and is_known
        return not is_known

    def _bounded(self, usage: Usage) -> Usage:
        """Return figures that can be true, and count those that were not: codex passes on what the upstream says."""
        bounded = usage.bounded()
        if bounded is not usage:
            self.counters["impossible_usage"] += 1
        return bounded

    # Whether it can be kept, and be gone on with

    @property
    def waits_for_results(self) -> bool:
        """True if its turn goes on as soon as there are results of the model's calls, and for nothing else."""
        turn = self.turn
        if self.calls is None or turn.turn_id is None or turn.ended.is_set():
            return False
        return self.calls.can_wait()

    def can_take_results(self, new: Sequence[Item]) -> bool:
        """Return True if new items are the results that the turn waits for, and maybe messages behind them."""
        results, more = self.split_results(new)
        return len(results) > 0 and all(map(_is_question, more)) and is_light(results)

    @property
    def is_worth_keeping(self) -> bool:
        """True if it holds exactly a conversation with its answer, and its turn is over or waits for results."""
        if (
            not (self.is_exact and self._is_answered)
            or self.turn.is_end_lost
            or self.turn.facts.error is not None
        ):
            return False
        if self.turn.ended.is_set():
            return self.turn.state is TurnState.COMPLETED
        return self.waits_for_results

    @property
    def cost(self) -> Usage:
        """Return what the thread has cost so far. Of a turn that waits for results codex tells only afterwards."""
        return max(self._total, self._responses, key=lambda usage: usage.input + usage.output)

    def hold(self, asked: Asked, held: Reservation, load: Load, *, is_exact: bool) -> None:
        """Note what the thread holds once it is given what is new of a conversation, and what that costs."""
        self.conversation = asked.whole
        self.is_exact = is_exact and asked is not NOTHING
        self.held, self.size, self.is_suspect = held, load.held_bytes, load.is_suspect

    def go_on(self, turn: Turn) -> None:
        """Let another turn take the place of the last one, which is over."""
        self._spent = self.cost
        self.turn.ended.set()  # whoever waits for its calls
        self.turn = turn
        self.is_asked = self._is_answered = False
        self._answer = []

    @property
    def has_long_answer(self) -> bool:
        """True if reading the answer takes more than a moment."""
        return is_long(self._answer)

    def read_answer(self, pause: Callable[[], None] = lambda: None) -> None:
        """Take the answer into the conversation, which is to be kept; `pause` is called now and then in a long one."""
        answer, self._answer = self._answer, []
        read = self.conversation.extend(answer, pause)
        self.size += read + sum(map(entry_bytes, answer))

    def split_results(self, new: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
        """Return the results that the turn waits for, and what follows them."""
        count = 0 if self.calls is None else self.calls.results_in(new)
        return new[:count], new[count:]

    def give_results(self, results: Iterable[Item], more: Iterable[Item], answer: Answer) -> None:
        """Give codex the results that its turn waits for; `more` are items that it has been given. Does not block."""
        self._announced = tuple(more)
        self._is_resuming = True
        self.is_asked = True
        if self.calls is not None:
            self.calls.give(results, answer)


def _is_question(item: Item) -> bool:
    return item.get("type") == "message" and item.get("role") != "assistant"


def _is_same(ours: Item, told: Item) -> bool:
    return (ours.get("role"), ours.get("content")) == (told.get("role"), told.get("content"))
