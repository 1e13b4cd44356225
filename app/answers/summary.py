"""Summary of an answer at one moment: what it is, took and cost so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.answers.chunks import Cause
from app.backend.events import Usage


@dataclass(frozen=True, slots=True)
class Summary:
    """See the module. Ids and generation are those of the first choice's turn; times are milliseconds.

    `model` is the one that was asked for, `rerouted_to` the one that answers in its place, if there is one. `continued`
    says that the turn went on where an earlier one had left the conversation, `lookup` why not (`TurnFacts`).
    """

    thread_id: str
    turn_id: str | None
    generation: int
    model: str
    effort: str | None
    ignored_parameters: tuple[str, ...]
    upstream: str
    ttft_ms: int | None
    duration_ms: int
    usage: Usage | None
    usage_estimated: bool
    cause: Cause | None
    rerouted_to: str | None = None
    adjusted_parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    lookup: str = ""
    continued: bool = False

    @property
    def answered_by(self) -> str:
        """The model that answers."""
        return self.rerouted_to or self.model

    def metadata(self) -> dict[str, Any]:
        """Return `codex_metadata`, this gateway's own member of an answer."""
        asked = {} if self.rerouted_to is None else {"requested_model": self.model}
        return {
            "thread_id": self.thread_id,
            "turn_id": self.turn_id,
            "model": self.answered_by,
            **asked,
            "effort": self.effort,
            "ignored_parameters": list(self.ignored_parameters),
            "adjusted_parameters": dict(self.adjusted_parameters),
            "upstream": self.upstream,
            "ttft_ms": self.ttft_ms,
            "duration_ms": self.duration_ms,
            "usage_estimated": self.usage_estimated,
            "continued": self.continued,
            "cached_tokens": None if self.usage is None else self.usage.cached_input,
        }
