"""Words of the upstream about a failure: its sentence, code and field, read from the message that codex hands on. Pure.

codex hands on the body of a 400 raw, of another status inside a sentence of its own (`unexpected status 403 Forbidden:
BODY, url: …`, the body at most 1000 bytes of it). OpenAI says `{"error": {"message": …}}`, the ChatGPT backend
`{"detail": …}`, FastAPI a list, a proxy anything. What is passed on is bounded and then scrubbed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

SENTENCE_CHARS = 1000
"""Longest sentence of the upstream that a client or the log gets to see."""

_READ_CHARS = 2 * SENTENCE_CHARS
_MAX_DEPTH = 4
_CODE = re.compile(r"[\w.:-]{1,64}")

TELLTALE = re.compile(
    r"https?://\S+|\breq_\w+|\bsk-[\w*-]+|\borg-\w+|\b(?:user-|proj_|sess-|rt_)[\w.-]{12,}|\beyJ[\w.-]{8,}"
    r"|(?i:\bbearer)\s+[\w.~+/=-]{12,}|(?<![\w.])/(?:[\w.-]+/)+[\w-]+\.\w+|Traceback \(most.*",
    re.DOTALL,
)
"""What an upstream's sentence may carry that is none of the caller's business: addresses, its own request ids, keys,
names of organizations, files, stacks."""

_SAYING = ("message", "msg", "detail", "error_description", "error", "title")

_STATUS_SENTENCE = "unexpected status "
_CUT_MEMBER = re.compile(r'"(?:message|msg|detail)"\s*:\s*"((?:[^"\\]|\\.){1,1200})')


@dataclass(frozen=True, slots=True)
class UpstreamWords:
    """What the upstream said. `sentence` is fit to be shown, and empty where it said nothing; `param` is its own."""

    sentence: str = ""
    code: str | None = None
    param: str | None = None
    is_json: bool = False

    def quoted(self, before: str) -> str:
        """Return a sentence of ours, and behind it what the upstream said, or at least its code."""
        said = self.sentence or self.code
        return before if not said else as_sentence(f"{before} The upstream said: {said}")


def read_words(message: str) -> UpstreamWords:
    """Return what the upstream said in a message of codex."""
    body = _body(message).strip()
    if not body or body[0] == "<":  # a page for people says nothing that its status does not
        return UpstreamWords()
    if body[0] not in "{[":
        return UpstreamWords(_shown(body))
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        cut = _CUT_MEMBER.search(body[: 2 * _READ_CHARS])
        return UpstreamWords(_shown(cut[1]) if cut else "", is_json=True)
    sentence, code, param = _members(parsed, _MAX_DEPTH)
    return UpstreamWords(_shown(sentence), code, param, is_json=True)


def _body(message: str) -> str:
    if not message.startswith(_STATUS_SENTENCE):
        return message.partition(", url: ")[0]
    _, _, rest = message.partition(": ")
    before, found, _ = rest.rpartition(", url: ")
    return before if found else rest


def _members(value: Any, depth: int) -> tuple[str, str | None, str | None]:
    """Return sentence, code and field out of a body of any of the known forms."""
    if isinstance(value, str):
        return value, None, None
    if depth and isinstance(value, Sequence) and value:
        return _members(value[0], depth - 1)
    if not depth or not isinstance(value, Mapping):
        return "", None, None
    for name in ("error", "detail"):
        if isinstance(value.get(name), Mapping | list):
            return _members(value[name], depth - 1)
    said = (value.get(name) for name in _SAYING)
    sentence = next((text for text in said if isinstance(text, str) and text), "")
    more = value.get("errors")
    if sentence == "" and isinstance(more, Mapping | list):
        return _members(more, depth - 1)
    place = value.get("loc")
    if sentence and isinstance(place, list):  # FastAPI says where beside what
        sentence = f"{'.'.join(map(str, place[:8]))}: {sentence}"
    code, param = value.get("code"), value.get("param")
    return (
        sentence,
        code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        param if isinstance(param, str) else None,
    )


def _shown(text: str) -> str:
    scrubbed = TELLTALE.sub("...", text[:_READ_CHARS].strip())
    if len(scrubbed) <= SENTENCE_CHARS:
        return scrubbed
    return scrubbed[: SENTENCE_CHARS - 3] + "..."


_ENDS = tuple(".!?…。।؟\N{FULLWIDTH EXCLAMATION MARK}\N{FULLWIDTH QUESTION MARK}")


def as_sentence(text: str) -> str:
    """Return the text with a full stop at its end, if it has no end of its own."""
    return text if text.endswith(_ENDS) else f"{text}."
