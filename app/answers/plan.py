"""Plan of an answer: what is asked, how often, under which constraints, and the endpoint's own names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.answers.constraints import AnswerConstraints
from app.answers.model_names import Resolved
from app.backend.request import Item, TurnRequest
from app.errors import ContextLengthExceeded, GatewayError, RequestPart, ToolRefused


@dataclass(frozen=True, slots=True)
class RequestWords:
    """An endpoint's words for the parts of its request, for errors that are raised where no endpoint is known.

    `fields` names the field of each part; `too_long` is the advice where a conversation is too long, in words that
    clients look for: "Please reduce the length of the messages."
    `images` is what `ignored_parameters` calls images that were left out.
    `tools` has the caller's own name for each tool that codex knows by another or the same, and the field of that name.
    """

    fields: Mapping[RequestPart, str]
    too_long: str
    images: str = ""
    tools: Mapping[str, tuple[str, str]] = field(default_factory=lambda: MappingProxyType({}))

    def put_into(self, error: GatewayError) -> None:
        """Let the error name the field of the part that it is about."""
        if isinstance(error, ToolRefused) and error.alias in self.tools:
            name, error.param = self.tools[error.alias]
            reason = error.reason.replace(error.alias, name)
            error.message = f"The tool '{name}' was refused by codex: {reason}."
        if error.part is not None and error.param is None:
            error.param = self.fields.get(error.part)
            if isinstance(error, ContextLengthExceeded):
                error.message = f"{error.message} {self.too_long}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question, and how many answers it gets: `n` choices under the same constraints.

    `image_fields` has the request's field for every image address in the items. One that is in `past_images` alone may
    fail: the model has answered after it, and is told so in words. `instructions` are of this gateway:
    they are put behind what the caller's developer says at the beginning. `pixels` are those of the images that are in
    the items already. `is_recalled` says that the conversation has something in it that the caller did not send: an
    endpoint put it there, or preparation, which also finds out the `mark` of the conversation as the caller sent it.
    """

    request: TurnRequest
    constraints: AnswerConstraints
    n: int = 1
    image_fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    instructions: tuple[Item, ...] = ()
    mark: bytes = b""
    is_recalled: bool = False
    past_images: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pixels: int = 0


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """Everything that an endpoint wants answered at once. Choices are numbered through all prompts, in order."""

    prompts: tuple[Prompt, ...]
    words: RequestWords
    resolved: Resolved
    ignored: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many choices there are."""
        return sum(prompt.n for prompt in self.prompts)

    def choices(self) -> Iterator[tuple[int, Prompt]]:
        """Yield the prompt of each choice, with the prompt's number."""
        for number, prompt in enumerate(self.prompts):
            for _ in range(prompt.n):
                yield number, prompt
