"""Answer to a plan: runs its turns and yields the chunks that they become, for streams and whole answers alike.

Whatever happens, `close` gives every turn back. Knows neither Flask nor bytes: a transport (`app.http`) iterates it,
and an endpoint's wire renders the chunks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from app.answers.answer_cache import without_reasoning
from app.answers.choice import Choice, RetryWithInstruction, Run, run_here
from app.answers.chunks import VISIBLE, Began, Chunk, Cost, Restarted
from app.answers.event_portions import Batch, portions
from app.answers.plan import AnswerPlan
from app.answers.summary import Summary
from app.answers.turn_set import TurnSet
from app.backend.admission import SlotRequest
from app.backend.engine import Admitted, Engine
from app.backend.events import NO_USAGE, Usage
from app.backend.observer import RequestObserver, TurnFacts
from app.backend.protocols import Pace
from app.backend.request import developer_item
from app.errors import GatewayError, ReasoningRefused, RequestPart, UpstreamAuth, WorkerLost
from app.pause import pause
from app.step_log import passed


class AnswerObserver(RequestObserver, Protocol):
    """Observer of one request whose answer may take more than one try."""

    def retried(self, facts: TurnFacts, error: GatewayError) -> None:
        """A turn failed before its client saw anything, and another one takes its place."""

    def failed(self, facts: TurnFacts, error: GatewayError) -> None:
        """The answer fails with the error of this turn."""


class AnswerKeeper(Protocol):
    """Keeper of what an answer is made of, for the requests that bring it back."""

    def keep(self, choices: Sequence[Choice]) -> None:
        """Keep the choices of an answer that is complete."""

    def forget(self) -> None:
        """Forget what was kept for the same owner: the upstream has refused it."""


class Answer:
    """One plan being answered: made by `begin`, iterated by one consumer, ended by `close`."""

    __slots__ = (
        "_choices",
        "_engine",
        "_ignored",
        "_is_committed",
        "_keeper",
        "_observer",
        "_owner",
        "_pace",
        "_prompts",
        "_recalled",
        "_requests",
        "_resolved",
        "_retried",
        "_turns",
        "_visible",
        "_words",
    )

    def __init__(
        self,
        plan: AnswerPlan,
        turns: TurnSet,
        engine: Engine,
        pace: Pace,
        *,
        owner: str,
        observer: AnswerObserver,
        keeper: AnswerKeeper,
        run: Run = run_here,
    ) -> None:
        self._turns = turns
        # Not the plan itself: a stream should not hold a conversation once no other try can need it.
        self._words, self._resolved, self._ignored = plan.words, plan.resolved, plan.ignored
        self._engine = engine
        self._pace = pace
        self._owner = owner
        self._observer = observer
        self._keeper = keeper
        prompts = list(plan.choices())
        self._prompts = [number for number, _ in prompts]
        self._requests = {index: prompt.request for index, (_, prompt) in enumerate(prompts)}
        # Choices, by their index. Frozen, since all streams share the empty set.
        # Choices: few, and an empty tuple costs an open stream nothing.
        self._recalled = tuple(i for i, (_, prompt) in enumerate(prompts) if prompt.is_recalled)
        self._visible: tuple[int, ...] = ()  # of which the client has seen something
        self._retried: tuple[int, ...] = ()
        self._choices = [
            Choice(index, prompt.constraints, run) for index, (_, prompt) in enumerate(prompts)
        ]
        self._is_committed = False

    @classmethod
    def begin(
        cls,
        plan: AnswerPlan,
        engine: Engine,
        admitted: Admitted,
        pace: Pace,
        *,
        owner: str,
        observer: AnswerObserver,
        keeper: AnswerKeeper,
        run: Run = run_here,
    ) -> Answer:
        """Begin the turns of a plan, on the slots that it was given. Blocks; raises `GatewayError`.

        `run` makes the check of a whole answer.
        """
        try:
            requests = [prompt.request for _, prompt in plan.choices()]
            turns = TurnSet(engine.start(requests, admitted, observer), pace)
        except GatewayError as error:
            plan.words.put_into(error)
            raise
        return cls(
            plan,
            turns,
            engine,
            pace,
            owner=owner,
            observer=observer,
            keeper=keeper,
            run=run,
        )

    # What comes up

    def __iter__(self) -> Iterator[list[Chunk] | None]:
        """Yield chunks as they come, to the end: an empty list for events that add none, None after a quiet time.

        A time is quiet after `Pace.commit_s` at first, then after `Pace.tick_s`.
        Blocks. Raises `GatewayError` in the endpoint's words; what a client may still see before it was yielded then.
        """
        yield [Began(choice.index) for choice in self._choices]
        chunks: list[Chunk] = []  # of the batch at hand
        try:
            for index, batch in self._turns.follow():
                if batch == []:
                    if not all(choice.is_complete for choice in self._choices):
                        yield None
                    continue
                for portion in self._portions(index, batch):
                    self._feed(index, portion, chunks)
                    yield chunks
                    chunks = []
        except GatewayError as error:
            if isinstance(error, UpstreamAuth):
                self._engine.backend.note_login(accepted=False)
            self._observer.failed(self._turns.turns[0].facts, error)
            self._words.put_into(error)
            if chunks and self._is_committed:
                yield chunks
            raise

    def _portions(self, index: int, batch: Batch) -> Iterator[Batch]:
        """Yield a batch of a choice, or as much of it as is wanted, and let others run in between."""
        choice, turn = self._choices[index], self._turns.turns[index]
        for number, portion in enumerate(portions(batch, keeps_runs=choice.takes_runs)):
            if number:
                pause()
            if choice.is_complete:
                return  # what follows was on its way when it ended
            if self._turns.turns[index] is not turn:
                return  # what follows was said by a turn that was given up
            yield portion

    def _feed(self, index: int, batch: Batch, chunks: list[Chunk]) -> None:
        """Add to `chunks` what a batch of events adds; close the turns that have done their part.

        Raises `GatewayError`: what came before it in the batch is then in `chunks`.
        """
        choice = self._choices[index]
        try:
            if isinstance(batch, GatewayError):
                raise batch
            for event in batch:
                chunks += choice.feed(event)
        except RetryWithInstruction as again:
            self._reopen(index, again.instruction)
        except GatewayError as error:
            if isinstance(error, ReasoningRefused) and index in self._recalled:
                self._keeper.forget()  # also where it is too late for another try: the next one is free of it
            if index in self._visible or not self._may_try_again(index, error):
                raise
            chunks.clear()
            self._retry(index, error)
            chunks.append(Restarted(index))
        if choice.is_complete:
            chunks += self._end(index)

    def _may_try_again(self, index: int, error: GatewayError) -> bool:
        """Return True where another try may do better, once for each reason; its request is then made ready."""
        turn = self._turns.turns[index]
        is_holding = index in self._recalled or turn.facts.is_continued  # what the model thought
        if isinstance(error, ReasoningRefused) and is_holding:
            self._recalled = tuple(other for other in self._recalled if other != index)
            request = self._requests[index]
            self._requests[index] = replace(request, items=without_reasoning(request.items))
            return True
        if error.part is RequestPart.FORMAT and (order := self._choices[index].fall_back()):
            request = replace(self._requests[index], output_schema=None)
            self._requests[index] = request.corrected(developer_item(order))
            return True
        if isinstance(error, WorkerLost) and turn.lease.follows_loss:
            return False  # what was there when two processes died may be why they did
        if not error.is_transient or index in self._retried:
            return False
        self._retried += (index,)
        return True

    def _retry(self, index: int, error: GatewayError) -> None:
        """Run a choice's turn once more. Blocks; raises `GatewayError`."""
        self._observer.retried(self._turns.turns[index].facts, error)
        self._choices[index].reset()
        self._reopen(index)

    def _reopen(self, index: int, instruction: str | None = None) -> None:
        """Put another turn in the place of a choice's, on the same slot; `instruction` says what was wrong. Blocks."""
        request = replace(self._requests[index], is_another_try=True)
        if instruction is not None:
            request = request.corrected(developer_item(instruction))
        left_s = self._turns.started + self._pace.total_s - time.monotonic()
        slot_request = SlotRequest(self._owner, left_s)
        turn = self._engine.reopen(self._turns.turns[index], request, slot_request, self._observer)
        self._turns.put(index, turn)

    def _end(self, index: int) -> list[Chunk]:
        """Close the turn of a choice that is complete; after the last one, return what all of them cost."""
        cause = self._choices[index].cause
        passed("answers.choice_ended", choice=index, cause=cause and cause.value)
        self._turns.close_one(index)
        if not all(choice.is_complete for choice in self._choices):
            return []
        self._engine.backend.note_login(accepted=True)
        self._keeper.keep(self._choices)
        return [Cost(self._usage())]

    # What goes out

    def commit(self, chunks: Sequence[Chunk]) -> None:
        """Note that these chunks go out now: a choice of which the client has seen something is not tried again."""
        self._is_committed = True
        if len(self._visible) == len(self._choices):
            return
        shown = {chunk.index for chunk in chunks if isinstance(chunk, VISIBLE)}
        for index in shown.difference(self._visible):
            self._visible += (index,)
            if not self._choices[index].holds_text:
                self._turns.turns[index].lease.commit()
                del self._requests[index]

    @property
    def generation(self) -> int:
        """Number of the process that runs it."""
        return self._turns.turns[0].facts.generation

    def summary(self) -> Summary:
        """Return the answer's state as of now."""
        turn = self._turns.turns[0].facts
        resolved = self._resolved
        first = self._turns.first_event_at
        return Summary(
            thread_id=turn.thread_id,
            turn_id=turn.turn_id,
            generation=turn.generation,
            model=resolved.model.id,
            effort=resolved.effort or resolved.model.default_effort,
            ignored_parameters=self._ignored,
            upstream=self._engine.backend.upstream,
            ttft_ms=None if first is None else round((first - self._turns.started) * 1000),
            duration_ms=round((time.monotonic() - self._turns.started) * 1000),
            usage=None if self._choices[0].usage is None else self._usage(),
            usage_estimated=any(choice.is_usage_estimated for choice in self._choices),
            cause=self._choices[0].cause,
            rerouted_to=next(filter(None, (it.rerouted_to for it in self._choices)), None),
            adjusted_parameters=resolved.adjusted,
            lookup=turn.lookup,
            continued=turn.is_continued,
        )

    def _usage(self) -> Usage:
        """Return what all choices cost together; each prompt counts once, as OpenAI counts it."""
        spent = [choice.usage or NO_USAGE for choice in self._choices]
        by_prompt: dict[int, Usage] = {}
        for usage, prompt in zip(spent, self._prompts, strict=True):
            by_prompt[prompt] = max(by_prompt.get(prompt, NO_USAGE), usage, key=lambda it: it.input)
        paid = sum(usage.input for usage in by_prompt.values())
        output = sum(usage.output for usage in spent)
        return Usage(
            input=paid,
            cached_input=sum(usage.cached_input for usage in by_prompt.values()),
            output=output,
            reasoning_output=sum(usage.reasoning_output for usage in spent),
            total=paid + output,
            cache_write_input=sum(usage.cache_write_input for usage in by_prompt.values()),
        )

    def close(self) -> None:
        """Give every turn back. Idempotent, does not block."""
        self._turns.close()
