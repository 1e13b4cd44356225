"""Requests that continue others, and what they are as a whole."""

from __future__ import annotations

from typing import Any

from scripted_upstream.logical_input import Continuations, counted, is_warm_up


def sent(*items: str, after: str | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "response.create", "model": "m", "input": list(items)}
    return message if after is None else {**message, "previous_response_id": after}


def whole(book: Continuations, message: dict[str, Any]) -> dict[str, Any]:
    request = book.whole(message)
    assert request is not None
    return request


def test_a_request_that_continues_none_is_whole() -> None:
    assert whole(Continuations(), sent("a")) == {"model": "m", "input": ["a"], "stream": True}


def test_what_was_sent_and_said_before_comes_first() -> None:
    book = Continuations()
    book.keep("r1", whole(book, sent("a", "b")), ["said"])
    second = whole(book, sent("c", after="r1"))
    assert second["input"] == ["a", "b", "said", "c"]
    book.keep("r2", second, [])
    assert whole(book, sent("d", after="r2"))["input"] == ["a", "b", "said", "c", "d"]


def test_two_may_continue_the_same_response() -> None:
    book = Continuations()
    book.keep("r1", whole(book, sent("a")), ["said"])
    for item in ("b", "c"):
        assert whole(book, sent(item, after="r1"))["input"] == ["a", "said", item]


def test_a_response_that_is_unknown_or_long_ago_cannot_be_continued() -> None:
    book = Continuations(most=2)
    for number in range(3):
        book.keep(f"r{number}", whole(book, sent("a")), [])
    assert book.whole(sent("b", after="r0")) is None
    assert book.whole(sent("b", after="never")) is None
    assert book.whole(sent("b", after="r2")) is not None


def test_a_warm_up_generates_nothing() -> None:
    assert is_warm_up({"generate": False})
    assert not is_warm_up({})


def test_what_a_model_is_not_given_counts_for_nothing() -> None:
    part = {"type": "output_text", "text": "Hi"}
    said = {"type": "message", "content": [part]}
    as_made = {**said, "status": "completed", "content": [{**part, "annotations": []}]}
    sealed = {"type": "reasoning", "encrypted_content": "x"}
    call = {"type": "function_call", "arguments": "{}"}
    thought = {"type": "reasoning", "summary": []}
    given = [thought, sealed, as_made, {**call, "status": "completed"}]
    assert counted(given) == [sealed, said, call]
    assert counted("Hello") == "Hello"
