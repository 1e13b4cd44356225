"""Preparation of a plan: remote images and kept answers are put into its items, before any turn is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.answers.answer_cache import AnswerCache, Owner
from app.answers.choice import Choice
from app.answers.plan import AnswerPlan, Prompt
from app.errors import RequestPart
from app.images.fetcher import LEFT_OUT, ImageFetcher
from app.pause import pause


class Preparation:
    """One for the whole worker: what it downloads and keeps serves later requests of the same owner."""

    def __init__(self, images: ImageFetcher, answers: AnswerCache) -> None:
        self._images = images
        self._answers = answers

    def prepare(self, plan: AnswerPlan, owner: Owner) -> AnswerPlan:
        """Return the plan with everything in it that its items name.

        Blocks where images are to be downloaded, and yields while it goes through a long conversation.
        Raises `InvalidRequest` (with the field), `WorkerBusy`.
        """
        default = plan.words.fields[RequestPart.PROMPT]

        def prepared(prompt: Prompt) -> Prompt:
            recalled = self._answers.recall(owner, prompt.request.items, pause)
            items = self._images.inline(
                recalled.items,
                owner.key,
                prompt.image_fields,
                default,
                prompt.past_images,
                pixels=prompt.pixels,
            )
            request = prompt.request
            if items is not request.items:
                request = replace(request, items=items)
            return replace(
                prompt,
                request=request.opened_with(prompt.instructions),
                mark=recalled.mark,
                is_recalled=prompt.is_recalled or recalled.is_changed,
            )

        prompts = tuple(map(prepared, plan.prompts))
        return replace(plan, prompts=prompts, ignored=_ignored(plan, prompts))

    def keeper(self, plan: AnswerPlan, owner: Owner) -> Keeper:
        """Return what keeps the answers to a plan that was prepared."""
        marks = tuple(prompt.mark for _, prompt in plan.choices())
        return Keeper(self._answers, owner, marks)


class Keeper:
    """Keeper of the answers to one request: see `app.answers.answer.AnswerKeeper`."""

    __slots__ = ("_answers", "_marks", "_owner")  # there is one for every open stream

    def __init__(self, answers: AnswerCache, owner: Owner, marks: tuple[bytes, ...]) -> None:
        self._answers, self._owner, self._marks = answers, owner, marks

    def keep(self, choices: Sequence[Choice]) -> None:
        """Keep what the upstream made of each choice, for the request that brings it back."""
        for choice, mark in zip(choices, self._marks, strict=True):
            # Another model's reasoning would go to the one that was asked.
            if choice.rerouted_to is None:
                self._answers.keep(self._owner, mark, choice.items)

    def forget(self) -> None:
        """Forget every answer of the owner."""
        self._answers.forget(self._owner)


def _ignored(plan: AnswerPlan, prompts: tuple[Prompt, ...]) -> tuple[str, ...]:
    """Return what is ignored, and images if some of the past could not be had."""
    name = plan.words.images
    items = (item for prompt in prompts if prompt.past_images for item in prompt.request.items)
    if name in plan.ignored or not any(LEFT_OUT in item.get("content", ()) for item in items):
        return plan.ignored
    return (*plan.ignored, name)
