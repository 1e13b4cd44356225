"""Calls that codex waits for, and the results that the next request brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from app.backends.app_server.tool_calls import ToolCalls
from app.rpc.messages import Request
from tests.unit.backends.app_server.items import asked, call, output, text_part

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,"}


class Codex:
    """Remembers what it was answered."""

    def __init__(self) -> None:
        self.answered: list[tuple[Any, list[str]]] = []

    def answer(self, request: Request, result: Mapping[str, Any]) -> None:
        assert result["success"] is True
        texts = [part["text"] for part in result["contentItems"]]
        self.answered.append((request.id, texts))


def question(number: int, call_id: str) -> Request:
    return Request(number, "item/tool/call", {"callId": call_id})


def made(*calls: Any, offered: tuple[str, ...] = ("look",)) -> ToolCalls:
    found = ToolCalls(offered)
    for item in calls:
        found.made(item)
    found.response_ended()
    return found


@pytest.mark.parametrize(
    ("calls", "can_wait"),
    [
        pytest.param([call()], True, id="one"),
        pytest.param([call(), call(call_id="c2")], True, id="two"),
        pytest.param([], False, id="none"),
        pytest.param([call(name="other")], False, id="not offered, which codex answers itself"),
        pytest.param([call("{")], False, id="no JSON, which codex answers itself"),
        pytest.param([call('{"a":' * 127 + "1" + "}" * 127)], True, id="as deep as codex reads"),
        pytest.param([call("[" * 128 + "]" * 128)], False, id="deeper, which codex answers itself"),
        pytest.param([call('"\\ud800"')], False, id="half a character, which codex answers itself"),
        pytest.param([call(str([0] * 100_001))], False, id="too many values to look through"),
        pytest.param([call(), call()], False, id="one id for two"),
        pytest.param([call(call_id="")], False, id="no id"),
    ],
)
def test_codex_waits_for_calls_that_it_can_ask_about(calls: list[Any], can_wait: bool) -> None:
    assert made(*calls).can_wait() is can_wait


def test_it_does_not_wait_before_the_response_is_whole() -> None:
    calls = ToolCalls(["look"])
    calls.made(call())
    assert not calls.can_wait()
    calls.response_ended()
    assert calls.can_wait()
    calls.made(call(call_id="c2"))  # of the next response
    assert not calls.can_wait()


@pytest.mark.parametrize(
    ("items", "count"),
    [
        pytest.param([output(), output(call_id="c2")], 2, id="both"),
        pytest.param([output(), output(call_id="c2"), asked("and?")], 2, id="and a question"),
        pytest.param(
            [output([text_part("a"), text_part("b")]), output(call_id="c2")], 2, id="texts"
        ),
        pytest.param([output()], 0, id="one of two"),
        pytest.param([output(call_id="c2"), output()], 0, id="another order"),
        pytest.param([asked("and?"), output(), output(call_id="c2")], 0, id="behind a question"),
        pytest.param([output(), output(call_id="c3")], 0, id="of another call"),
        pytest.param([output([IMAGE]), output(call_id="c2")], 0, id="an image"),
        pytest.param([output(None), output(call_id="c2")], 0, id="nothing"),
        pytest.param([], 0, id="no items"),
    ],
)
def test_results_are_those_of_all_calls_in_their_order(items: list[Any], count: int) -> None:
    assert made(call(), call(call_id="c2")).results_in(items) == count


def test_results_go_to_codex_when_it_asks_for_them() -> None:
    """It asks for the second once it has the first."""
    codex, calls = Codex(), made(call(), call(call_id="c2"))
    assert calls.ask(question(1, "c1"), codex.answer) is False
    calls.give([output("one"), output([text_part("t"), text_part("wo")], "c2")], codex.answer)
    assert codex.answered == [(1, ["one"])]
    assert calls.ask(question(2, "c2"), codex.answer) is True
    assert codex.answered == [(1, ["one"]), (2, ["t", "wo"])]
    assert not calls.can_wait()


def test_a_question_that_nobody_answered_can_be_withdrawn_once() -> None:
    codex, calls = Codex(), made(call())
    first, second, third = (question(number, "c1") for number in (1, 2, 3))
    calls.ask(first, codex.answer)
    assert calls.withdraw(first) is True
    assert calls.withdraw(first) is False
    calls.ask(second, codex.answer)
    calls.give([output()], codex.answer)
    assert calls.withdraw(second) is False
    assert calls.is_given(output())
    calls.ask(third, codex.answer)  # of a later response, with the same id
    assert calls.withdraw(second) is False
    assert calls.withdraw(third) is True


def test_what_codex_tells_of_a_result_is_what_it_was_given() -> None:
    calls = made(call(), call(call_id="c2"))
    calls.give([output("one"), output([text_part("two")], "c2")], Codex().answer)
    assert calls.is_given(output("one"))
    assert not calls.is_given(output("one"))  # told once
    assert calls.is_given(output("two", "c2"))
    assert not calls.is_given(output("aborted", "c3"))
    calls.give([output("three", "c4")], Codex().answer)
    assert not calls.is_given(output("aborted", "c4"))
