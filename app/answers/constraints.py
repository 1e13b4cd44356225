"""Constraints of an answer that codex cannot be told: the gateway enforces them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.answers.output_format import TEXT, OutputFormat


@dataclass(frozen=True, slots=True)
class AnswerConstraints:
    """What the caller asked of every choice. `prompt_tokens` is our estimate, for usage that codex cannot report."""

    stops: tuple[str, ...] = ()
    max_tokens: int | None = None
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    offers_tools: bool = False
    requires_tool: bool = False
    parallel_calls: bool = True
    shows_reasoning: bool = False
    output: OutputFormat = TEXT
    checks_output: bool = False
    prompt_tokens: int = 0
