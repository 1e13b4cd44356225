"""What chunks of a completion become in a stream. The rest is tested over HTTP."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import orjson
import pytest

from app.answers.chunks import Began, Chunk, Refusal, Text
from app.api.choices_wire import Envelope
from app.api.completions.wire import CompletionWire
from app.http.frames import frame

LONG = '"é' * 100_000


def frames(made: CompletionWire, *chunks: Chunk) -> list[dict[str, Any]]:
    payloads = list(made.payloads(chunks, Mock()))
    assert max((len(frame(payload)) for payload in payloads), default=0) < 17 * 1024
    return [orjson.loads(data) for _, data in payloads]


def wire(*echoes: str, include_usage: bool = False) -> CompletionWire:
    return CompletionWire(Envelope("cmpl-1", 1_700_000_000, "gpt", "fp_1", include_usage), echoes)


@pytest.mark.parametrize(("include_usage", "usage"), [(False, {}), (True, {"usage": None})])
def test_a_sign_of_life_is_no_text(usage: dict[str, None], *, include_usage: bool) -> None:
    made = wire("", "", include_usage=include_usage)
    assert frames(made, Began(0), Began(1)) == []
    event, data = made.sign_of_life()
    assert event is None
    assert orjson.loads(data) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "gpt",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": None}],
        **usage,
    }


def test_what_is_whole_goes_out_in_pieces() -> None:
    said = frames(wire(LONG), Began(0), Text(0, "a"), Refusal(0, LONG))
    texts = [frame["choices"][0]["text"] for frame in said]
    assert "".join(texts) == LONG + "a" + LONG
    assert texts.count("a") == 1, "a delta goes out as it came"
