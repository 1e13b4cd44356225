"""Body of a completion request: what is asked of codex, and the constraints of its answers. Pure.

The models behind codex know conversations only, so each prompt goes as one user message. Several prompts, and `n`
choices for each, are turns of their own: choice `i` of prompt `p` has the index `p * n + i`, as at OpenAI's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from app.answers.constraints import AnswerConstraints
from app.answers.field_errors import checked_length, invalid_type, missing
from app.api.body_fields import BodyFields
from app.api.sampling import (
    PARAGRAPH,
    STREAM_OPTIONS,
    choice_count,
    include_usage,
    stop_sequences,
)
from app.backend.request import Item, estimate_tokens
from app.errors import InvalidRequest
from app.http.fields import Ranged, SamplingSchema, Typed


class CompletionSchema(SamplingSchema):
    """The fields whose type can be told without looking further."""

    model = Typed(str, "a string")
    prompt = fields.Raw()
    stream = Typed(bool, "a boolean")
    stream_options = Typed(dict, "an object")
    n = Ranged(1, 128, whole=True)
    max_tokens = Ranged(1, 1 << 40, whole=True)
    echo = Typed(bool, "a boolean")
    stop = fields.Raw()


IGNORED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "temperature": (1,),
        "top_p": (1,),
        "seed": (),
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "logit_bias": ({},),
        "user": (),
    }
)
"""Without effect here, and reported unless the value is the one beside the name; so is any field that nobody knows."""

REFUSED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {"suffix": ("",), "logprobs": (0, False), "best_of": (1,)}
)
"""Would change what the answer is, so a 400; except with the values beside the name."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A checked request. `model` is None where the gateway's default is meant."""

    model: str | None
    prompts: tuple[str, ...]
    n: int
    stream: bool
    include_usage: bool
    echo: bool
    stops: tuple[str, ...]
    max_tokens: int | None
    ignored: tuple[str, ...]

    def items(self, prompt: str) -> tuple[Item, ...]:
        """Return the input items of one prompt."""
        content = [{"type": "input_text", "text": prompt}]
        return ({"type": "message", "role": "user", "content": content},)

    def constraints(self, prompt: str) -> AnswerConstraints:
        """Return what the gateway enforces in every answer to one prompt."""
        return AnswerConstraints(
            stops=self.stops,
            max_tokens=self.max_tokens,
            prompt_tokens=estimate_tokens(self.items(prompt)),
            separator=PARAGRAPH,
        )


FIELDS = BodyFields(
    CompletionSchema(), {"stream_options": STREAM_OPTIONS}, ignored=IGNORED, refused=REFUSED
)


def parse_request(
    body: Mapping[str, Any], *, max_choices: int, needs_model: bool = True
) -> CompletionRequest:
    """Check the body. Raises `InvalidRequest`, which names the first field that is wrong."""
    given, known = FIELDS.load(body, needs_model=needs_model)
    if "prompt" not in known:
        raise missing("prompt")
    _, body_pass = FIELDS.read(given, known)
    prompts = _prompts(known["prompt"])
    n = choice_count(known, max_choices)
    if n * len(prompts) > max_choices:
        raise InvalidRequest(
            f"Invalid 'prompt': {len(prompts)} prompts with n={n} are more than the {max_choices} "
            "choices that this gateway gives at once.",
            param="prompt",
            code="array_above_max_length",
        )
    return CompletionRequest(
        model=known.get("model"),
        prompts=prompts,
        n=n,
        stream=known.get("stream", False),
        include_usage=include_usage(known),
        echo=known.get("echo", False),
        stops=stop_sequences(known.get("stop")),
        max_tokens=known.get("max_tokens"),
        ignored=FIELDS.names(body_pass),
    )


def _prompts(given: Any) -> tuple[str, ...]:
    prompts = [given] if isinstance(given, str) else given
    expected = "a string or an array of strings"
    if not isinstance(prompts, list):
        raise invalid_type("prompt", expected, given)
    if not prompts:
        raise InvalidRequest(
            "Invalid 'prompt': empty array. Expected at least one prompt.",
            param="prompt",
            code="empty_array",
        )
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str):  # arrays of tokens, too: codex takes text only
            raise invalid_type(f"prompt[{index}]", "a string", prompt)
        checked_length(prompt, "prompt" if isinstance(given, str) else f"prompt[{index}]")
    return tuple(prompts)
