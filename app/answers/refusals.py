"""Refusals of a request by the upstream: its code, words and field, as the error that the caller should see. Pure.

The upstream knows fields that the caller never sent (`input[3]`, `text.format`): a field is only taken for the part of
the request that it stands for. Its words stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from app.answers.upstream_words import UpstreamWords, as_sentence
from app.errors import (
    CodexOutdated,
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    PromptRefused,
    ReasoningRefused,
    RequestPart,
    UpstreamAuth,
)

POLICY = "The upstream refused this prompt: it goes against the usage policy of the model."
ACCOUNT_REFUSED = (
    "The upstream does not serve the account or workspace behind this service; its operator has to act. "
    "Your key is fine."
)
_OUTDATED = (
    "The operator of this gateway has to update codex (the pinned openai-codex-cli-bin); "
    "until then, take another model."
)
_UNREADABLE = "The upstream cannot read the reasoning of an earlier answer that came back to it."
_NO_REASON = (
    "The upstream refused this request and did not say why. "
    "Where it holds images, they may be too large or too many."
)
_NO_SENTENCES = frozenset({"", "Bad Request"})

_FIGURE = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3}){1,2}|\d{3,9}) (?:input )?tokens?\b")
_NAMED = re.compile(
    r"^(?:Unsupported|Invalid|Unknown) (?:parameter: |value: )?'?([a-z_]+(?:[.\[][\w.\[\]]*)?)'?"
)


def context_length(words: UpstreamWords) -> GatewayError:
    """Return the error in OpenAI's own words: clients compact a conversation when they read them."""
    match [int(figure.replace(",", "")) for figure in _FIGURE.findall(words.sentence)]:
        case [most, sent] if most < sent:
            sentence = (
                f"Input tokens exceed the configured limit of {most} tokens. "
                f"Your messages resulted in {sent} tokens."
            )
        case _:
            sentence = (
                "Input tokens exceed the configured limit: "
                "your input exceeds the context window of this model, its maximum context length."
            )
    return ContextLengthExceeded(sentence, part=RequestPart.PROMPT)


def _in_its_words(words: UpstreamWords, part: RequestPart | None) -> GatewayError:
    return InvalidRequest(as_sentence(words.sentence), code=words.code, part=part)


def _outdated(words: UpstreamWords) -> GatewayError:
    said = as_sentence(words.sentence)
    return CodexOutdated(f"{said} {_OUTDATED}", part=RequestPart.MODEL)


BY_WORDS: tuple[tuple[re.Pattern[str], Callable[[UpstreamWords], GatewayError]], ...] = (
    (
        re.compile(
            r"(?:deactivated|invalid|suspended|disabled)[ _]workspace"
            r"|workspace (?:is |was |has been )?(?:deactivated|suspended|disabled)",
            re.IGNORECASE,
        ),
        lambda words: UpstreamAuth(words.quoted(ACCOUNT_REFUSED)),
    ),
    (
        re.compile(
            r"^invalid_encrypted_content |encrypted content\b.{0,200}could not be (?:verified|decrypted)",
            re.IGNORECASE | re.DOTALL,
        ),
        lambda words: ReasoningRefused(words.quoted(_UNREADABLE)),
    ),
    (
        re.compile(
            r"^context_length_exceeded |maximum context length|input tokens exceed|(?:prompt|input) is too long"
            r"|exceeds? (?:the|this model's|the model's) (?:available )?context (?:window|length|size|limit)"
            r"|context (?:window|length|size|limit)\b.{0,40}\bexceeded",
            re.IGNORECASE,
        ),
        context_length,
    ),
    (re.compile(r"requires a newer version of codex", re.IGNORECASE), _outdated),
    (re.compile(r"^\w+ Invalid prompt"), lambda words: PromptRefused(words.quoted(POLICY))),
    (
        re.compile(r"\bmodel\b.{0,100}\bnot supported\b", re.IGNORECASE),
        lambda words: _in_its_words(words, RequestPart.MODEL),
    ),
)
"""By the code and the words of a refusal, whatever its status: `code sentence`, the code `None` where there is none."""

_PARTS: tuple[tuple[str, RequestPart], ...] = (
    ("input", RequestPart.PROMPT),
    ("tools", RequestPart.TOOLS),
    ("model", RequestPart.MODEL),
    ("text.format", RequestPart.FORMAT),
    ("text.verbosity", RequestPart.VERBOSITY),
    ("reasoning.effort", RequestPart.EFFORT),
    ("service_tier", RequestPart.SERVICE_TIER),
)
"""By how a field of the Responses API begins."""


def recognized(words: UpstreamWords) -> GatewayError | None:
    """Return the error that a refusal's code or words mean with any status; None for any other."""
    told = f"{words.code} {words.sentence}"
    return next((make(words) for pattern, make in BY_WORDS if pattern.search(told)), None)


def refused(words: UpstreamWords) -> GatewayError:
    """Return the refusal of a request as not valid, in the upstream's own words where it has any."""
    if words.sentence in _NO_SENTENCES:
        return InvalidRequest(words.quoted(_NO_REASON), code=words.code, part=RequestPart.PROMPT)
    found = _NAMED.search(words.sentence)
    field = words.param or (found[1] if found else "")
    return _in_its_words(words, _part_of(field))


def _part_of(field: str) -> RequestPart | None:
    for name, part in _PARTS:
        if re.match(rf"{re.escape(name)}(?![\w-])", field):
            return part
    return None
