"""Messages of a WebSocket: what is in the envelope, and what is left for the body."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.responses.message import Message, parse_message
from app.errors import InvalidRequest


class Session:
    stream_id: str | None = None


def parse(**message: Any) -> Message:
    parsed = parse_message(Session(), {"type": "response.create", "model": "m", **message})
    assert parsed is not None
    return parsed


def test_the_envelope_is_no_part_of_the_body() -> None:
    session = Session()
    message = {"type": "response.create", "model": "m", "input": "x", "stream_id": "a"}
    parsed = parse_message(session, {**message, "stream": False, "background": False})
    assert parsed is not None
    assert session.stream_id == "a"
    assert parsed.generates
    assert parsed.body.given == {"model": "m", "input": "x", "stream": True}
    assert parsed.body.ignored == ()


@pytest.mark.parametrize("given", [{}, {"input": []}, {"input": None}])
def test_what_only_prepares_may_say_nothing(given: dict[str, Any]) -> None:
    parsed = parse(generate=False, instructions="Be kind.", **given)
    assert not parsed.generates
    assert not parsed.body.is_stored
    assert parsed.body.input == ()
    assert parsed.body.given["instructions"] == "Be kind."


def test_what_only_prepares_is_checked_all_the_same() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(generate=False, temperature=5)
    assert refused.value.param == "temperature"


@pytest.mark.parametrize("generate", [None, True])
def test_what_generates_needs_an_input(generate: bool | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(generate=generate)
    assert refused.value.param == "input"


def test_an_acknowledgement_is_not_answered() -> None:
    message = {"type": "response.processed", "response_id": "resp_1"}
    assert parse_message(Session(), message) is None
