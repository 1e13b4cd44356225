"""Body of a request for a summary: `text`, `by`, `stream`, `max_words`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema

from app.answers.constraints import AnswerConstraints
from app.answers.field_errors import missing
from app.api.members import BodyPass, BodyShape, members
from app.backend.request import Item
from app.http.fields import Ranged, Typed


class SummarySchema(Schema):
    """Types and bounds."""

    class Meta:
        """Unknown fields are dropped here, and named by the pass below."""

        unknown = EXCLUDE

    text = Typed(str, "a string")
    by = Typed(str, "a string")
    stream = Typed(bool, "a boolean")
    max_words = Ranged(1, 10_000, whole=True)


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """A checked request. `model` is None where the gateway's default is meant."""

    model: str | None
    items: tuple[Item, ...]
    stream: bool
    constraints: AnswerConstraints
    ignored: tuple[str, ...]


SCHEMA = SummarySchema()
_BODY = BodyShape(members(*SCHEMA.fields))


def parse_request(body: dict[str, Any]) -> SummaryRequest:
    """Check the body. Raises `InvalidRequest`, which names the first field that is wrong."""
    body_pass = BodyPass()
    given = body_pass.over(body, _BODY)
    if "text" not in given:
        raise missing("text")
    known: Mapping[str, Any] = SCHEMA.load(given)
    content = [{"type": "input_text", "text": known["text"]}]
    return SummaryRequest(
        model=known.get("by"),
        items=({"type": "message", "role": "user", "content": content},),
        stream=known.get("stream", False),
        constraints=AnswerConstraints(max_tokens=known.get("max_words")),
        ignored=body_pass.names(),
    )
