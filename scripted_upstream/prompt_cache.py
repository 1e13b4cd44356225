"""Prompt cache as OpenAI documents it: how many input tokens a request has, and how many of them are cached. Pure.

Prompts are cached from 1,024 tokens on, in steps of 128, and only where they begin exactly as an earlier one did; a
prefix that is not used is forgotten after minutes. OpenAI finds that earlier one by routing: by `prompt_cache_key`, and
for codex's sessions also by the session, so that both have to be the same here. Tokens are estimated: four characters
each. Ids and states of items are no part of a prompt.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

LEAST_TOKENS = 1024
STEP_TOKENS = 128
MAX_STEPS = 1 << 18
"""Steps that are remembered, of all sessions: about 130 MB of prompts."""

_CHARACTERS_PER_TOKEN = 4
_STEP_CHARACTERS = STEP_TOKENS * _CHARACTERS_PER_TOKEN
_BEFORE_THE_INPUT = ("model", "tools", "instructions", "text")
_NOT_IN_THE_PROMPT = ("id", "status")


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request is charged for: all its input tokens, and those among them that were cached."""

    input_tokens: int
    cached_tokens: int


class PromptCache:
    """Prefixes of the prompts that each session sent. `lifetime_s` is how long one is kept without being used."""

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime_s = lifetime_s
        self._used: OrderedDict[bytes, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<PromptCache {len(self._used)} steps>"

    def charge(self, session: str, request: Mapping[str, Any], now: float) -> Charge:
        """Return the tokens of a request that is sent at `now` (seconds), and remember its prompt.

        A request that continues another response has to bring the whole logical input.
        """
        prompt = _prompt(request)
        key = str(request.get("prompt_cache_key"))
        steps = list(_chained(orjson.dumps([key, session]), prompt))
        known = 0
        while known < len(steps) and self._is_fresh(steps[known], now):
            known += 1
        for step in reversed(steps):  # the oldest of a prompt is forgotten last
            self._used[step] = now
            self._used.move_to_end(step)
        while len(self._used) > MAX_STEPS:
            self._used.popitem(last=False)
        cached = known * STEP_TOKENS
        total = max(1, len(prompt) // _CHARACTERS_PER_TOKEN)
        return Charge(total, cached if cached >= LEAST_TOKENS else 0)

    def _is_fresh(self, step: bytes, now: float) -> bool:
        used = self._used.get(step)
        return used is not None and now - used <= self._lifetime_s


def _prompt(request: Mapping[str, Any]) -> str:
    """Return everything that the model is given, in the order in which a cache sees it."""
    parts: list[Any] = [request.get(name) for name in _BEFORE_THE_INPUT]
    given = request.get("input")
    parts += given if isinstance(given, list) else [given]
    return "".join(orjson.dumps(_bare(part)).decode() for part in parts if part)


def _bare(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name not in _NOT_IN_THE_PROMPT}


def _chained(seed: bytes, prompt: str) -> Iterator[bytes]:
    """Yield a name for each whole step: it stands for the step, for all before it, and for the session."""
    name = seed
    for start in range(0, len(prompt) - _STEP_CHARACTERS + 1, _STEP_CHARACTERS):
        step = prompt[start : start + _STEP_CHARACTERS].encode()
        name = blake2b(name + step, digest_size=16).digest()
        yield name
