"""Preparation of a plan: remote images and kept reasoning are put into its items, before any turn is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.answers.choice import Choice
from app.answers.plan import AnswerPlan, Prompt
from app.answers.reasoning_cache import ReasoningCache
from app.errors import RequestPart
from app.images.fetcher import ImageFetcher


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
            items = self._images.inline(items, owner, prompt.image_fields, default)
            return replace(prompt, request=replace(prompt.request, items=items))

        return replace(plan, prompts=tuple(map(prepared, plan.prompts)))

    def keep(self, choices: Sequence[Choice], owner: str, account_mark: str) -> None:
        """Keep what the model thought before its calls, for the request that brings their results."""
        for choice in choices:
            if choice.call_ids:
                reasoning_owner = _reasoning_owner(owner, account_mark)
                self._reasoning.keep(reasoning_owner, choice.call_ids[0], choice.reasoning_items)


def _reasoning_owner(owner: str, account_mark: str) -> str:
    """Reasoning is encrypted for an account, and belongs to the key that asked for it."""
    return f"{owner} {account_mark}"
