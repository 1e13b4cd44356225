"""Preparation of a plan: remote images and kept reasoning are put into its items, before any turn is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.answers.choice import Choice
from app.answers.plan import AnswerPlan, Prompt
from app.answers.reasoning_cache import ReasoningCache
from app.errors import RequestPart
from app.images.fetcher import LEFT_OUT, ImageFetcher


class Preparation:
    """One for the whole worker: what it downloads and keeps serves later requests of the same owner."""

    def __init__(self, images: ImageFetcher, reasoning: ReasoningCache) -> None:
        self._images = images
        self._reasoning = reasoning

    def prepare(self, plan: AnswerPlan, owner: str, account_mark: str) -> AnswerPlan:
        """Return the plan with everything in it that its items name. `owner` is the name of a key.

        Blocks where images are to be downloaded. Raises `InvalidRequest` (with the field), `WorkerBusy`.
        """
        reasoning_owner = _reasoning_owner(owner, account_mark)
        default = plan.words.fields[RequestPart.PROMPT]

        def prepared(prompt: Prompt) -> Prompt:
            items = self._reasoning.with_reasoning(reasoning_owner, prompt.request.items)
            past = prompt.past_images
            items = self._images.inline(items, owner, prompt.image_fields, default, past)
            return replace(prompt, request=replace(prompt.request, items=items))

        prompts = tuple(map(prepared, plan.prompts))
        return replace(plan, prompts=prompts, ignored=_ignored(plan, prompts))

    def keep(self, choices: Sequence[Choice], owner: str, account_mark: str) -> None:
        """Keep what the model thought before its calls, for the request that brings their results."""
        for choice in choices:
            if choice.call_ids:
                reasoning_owner = _reasoning_owner(owner, account_mark)
                self._reasoning.keep(reasoning_owner, choice.call_ids[0], choice.reasoning_items)


def _reasoning_owner(owner: str, account_mark: str) -> str:
    """Reasoning is encrypted for an account, and belongs to the key that asked for it."""
    return f"{owner} {account_mark}"


def _ignored(plan: AnswerPlan, prompts: tuple[Prompt, ...]) -> tuple[str, ...]:
    """Return what is ignored, and images if some of the past could not be had."""
    name = plan.words.images
    items = (item for prompt in prompts if prompt.past_images for item in prompt.request.items)
    if name in plan.ignored or not any(LEFT_OUT in item.get("content", ()) for item in items):
        return plan.ignored
    return (*plan.ignored, name)
