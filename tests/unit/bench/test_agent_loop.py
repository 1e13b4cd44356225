"""The agent loop: what the upstream is told to say, what a client sends, and what counts as right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from bench import agent_loop
from bench.agent_loop import LoopJob, Step
from bench.jobs import AnswerError
from scripted_upstream.script import FunctionCall, Message, parse_script

ROUNDS = 3


def step(number: int, *, rounds: int = ROUNDS, marker: str = "m") -> Step:
    """The answer that the script gives in this round."""
    items = parse_script(agent_loop.script(marker, rounds)).response(number).items
    text = "".join(delta for item in items if isinstance(item, Message) for delta in item.deltas)
    calls = [
        (f"call_{number}", item.name, item.arguments)
        for item in items
        if isinstance(item, FunctionCall)
    ]
    return Step(0.0, 0.1, 0.2, text, calls[0] if calls else None, 100 + number, number)


class Scripted:
    """A side that answers right, but for the rounds that are given."""

    def __init__(self, wrong: dict[int, Step] | None = None) -> None:
        self.heard: list[str | None] = []
        self.is_closed = False
        self._wrong = wrong or {}

    def next(self, result: str | None) -> Step:
        self.heard.append(result)
        number = len(self.heard) - 1
        return self._wrong.get(number, step(number))

    def close(self) -> None:
        self.is_closed = True


def played(side: Scripted) -> Any:
    job = LoopJob("model", ["m"], ROUNDS, 64, streamed=True)
    report = agent_loop.run(job, lambda _job, _number: side, lambda: 0.0)
    assert side.is_closed
    return report


def test_each_round_has_a_call_of_its_own_and_the_last_answer_none() -> None:
    answers = [step(number) for number in range(ROUNDS + 1)]
    assert len({answer.call for answer in answers}) == ROUNDS + 1
    assert answers[-1].call is None
    assert len({answer.text for answer in answers}) == ROUNDS + 1


def test_a_result_has_its_length_and_is_like_no_other() -> None:
    results = [agent_loop.result(marker, k, 2048) for marker in ("a", "b") for k in range(30)]
    assert {len(result) for result in results} == {2048}
    assert len(set(results)) == 60
    assert all("a round" in result for result in results[:30])


def test_the_results_are_sent_back_in_order() -> None:
    side = Scripted()
    report = played(side)
    assert side.heard == [None, *(agent_loop.result("m", k, 64) for k in range(ROUNDS))]
    assert report.wrong == 0
    assert [each.input_tokens for each in report.loops[0]] == [100, 101, 102, 103]
    assert report.loops[0][0].first_ms == pytest.approx(100)


WRONG = {
    "another text": replace(step(1), text="Step 2: I read the next part now."),
    "no call": replace(step(1), call=None),
    "another conversation's call": step(1, marker="other"),
    "no JSON": replace(step(1), call=("call", agent_loop.TOOL_NAME, "{")),
    "another tool": replace(step(1), call=("call", "other", orjson.dumps({}).decode())),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_ends_its_loop_and_is_counted(wrong: Step) -> None:
    side = Scripted({1: wrong})
    report = played(side)
    assert (report.wrong, report.loops, len(side.heard)) == (1, [], 2)
    assert report.examples[0].startswith("round 1: ")


def test_a_call_after_the_last_is_wrong() -> None:
    assert played(Scripted({ROUNDS: replace(step(ROUNDS), call=("c", "f", "{}"))})).wrong == 1


def test_arguments_that_were_written_anew_are_right() -> None:
    told = step(1)
    assert told.call is not None
    spaced = told.call[2].replace(":", ": ")
    assert played(Scripted({1: replace(told, call=(*told.call[:2], spaced))})).wrong == 0


def test_a_failure_of_the_side_is_counted_in_its_words() -> None:
    class Failing(Scripted):
        def next(self, result: str | None) -> Step:
            raise AnswerError("HTTP/1.1 503 Service Unavailable")

    report = played(Failing())
    assert (report.wrong, report.examples) == (1, ["HTTP/1.1 503 Service Unavailable"])


def test_an_answer_is_echoed_with_its_call_and_the_result() -> None:
    assistant, tool = agent_loop.chat_messages(step(0), "found")
    assert assistant["tool_calls"][0]["id"] == tool["tool_call_id"] == "call_0"
    assert tool["content"] == "found"
    (last,) = agent_loop.chat_messages(step(ROUNDS), "")
    assert "tool_calls" not in last
