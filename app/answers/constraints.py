"""Constraints of an answer that codex cannot be told: the gateway enforces them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.answers.output_format import TEXT, OutputFormat


@dataclass(frozen=True, slots=True)
class AnswerConstraints:
    """What the caller asked of every choice. `prompt_tokens` is our estimate, for usage that codex cannot report.

    `separator` parts the messages of an answer, and the parts of its reasoning, where the endpoint has one text for
    them; it is empty where each has a place of its own. `commentary_is_reasoning`: so is what is said on the way.
    """

    stops: tuple[str, ...] = ()
    max_tokens: int | None = None
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    offers_tools: bool = False
    requires_tool: bool = False
    parallel_calls: bool = True
    shows_reasoning: bool = False
    output: OutputFormat = TEXT
    can_check: bool = False
    """The answer is given whole, and without tools: it can be held against its format before anybody sees it."""

    prompt_tokens: int = 0
    separator: str = ""
    commentary_is_reasoning: bool = False

    @property
    def is_structured(self) -> bool:
        """True if the answer is to be JSON: then it is the model's last message alone."""
        return self.output.strict_schema is not None or self.output.is_checked

    @property
    def checks_output(self) -> bool:
        """True if the whole answer is held against its format here."""
        return self.can_check and self.output.is_checked

    @property
    def may_cut(self) -> bool:
        """True if a piece of text may end the answer, and with it the turn."""
        return bool(self.stops) or self.max_tokens is not None

    @property
    def passes_text(self) -> bool:
        """True if text goes out as it comes: nothing is looked for in it, and nothing of it held back."""
        return not (self.stops or self.output.is_checked or self.holds_text)

    @property
    def holds_text(self) -> bool:
        """Text is held back while it is not certain that the answer will stand."""
        return self.requires_tool or self.checks_output
