"""Agent loop: a conversation that grows by a call and its result in each round, and the check of every answer in it.

The upstream plays `script`: in each round a sentence and one call of a tool, at the end a sentence alone. The client
sends the result of each call back, 2 KB by default, so that 30 rounds end with 60 KB. A result is made of its
conversation's marker and its round, so that no two are alike anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gevent
import orjson

from bench.jobs import ANSWER_TIMEOUT_S, MOST_EXAMPLES, AnswerError, Handler

TOOL_NAME = "read_part"
TOOL_DESCRIPTION = "Read a part of a file of the project."
TOOL_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "part": {"type": "integer"}},
    "required": ["path", "part"],
    "additionalProperties": False,
}
SYSTEM = "You are an agent that looks after a program. " + " ".join(
    f"Rule {number}: read before you write, and say what you read." for number in range(20)
)


@dataclass(frozen=True, slots=True)
class LoopJob:
    """Run the conversations with these markers, all at once; each has `rounds` calls and one answer after them.

    `watched_pid` is the process whose CPU time is read between the rounds, where one conversation runs alone.
    """

    model: str
    markers: list[str]
    rounds: int
    result_chars: int
    streamed: bool
    watched_pid: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One answer: times in ms, input tokens as the side was told them, and CPU ms of the watched process."""

    first_ms: float
    total_ms: float
    input_tokens: int
    cached_tokens: int
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class LoopReport:
    """The rounds of each conversation that was right; `wrong` counts the others."""

    loops: list[list[Round]]
    wall_s: float
    wrong: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """One answer as a side got it. `call` is the id, the name and the arguments; None where the answer is the last."""

    asked: float
    first: float
    ended: float
    text: str
    call: tuple[str, str, str] | None
    input_tokens: int
    cached_tokens: int


class Conversation(Protocol):
    """One conversation of a side."""

    def next(self, result: str | None) -> Step:
        """Send the result of the last call (at first nothing) and return the answer. Blocks; raises `AnswerError`."""

    def close(self) -> None:
        """Give back what the conversation holds."""


def script(marker: str, rounds: int) -> list[dict[str, Any]]:
    """Return what the upstream answers, one response for each request of a conversation."""
    called = [
        {
            "items": [
                {"type": "message", "deltas": _sentence(number)},
                {
                    "type": "function_call",
                    "name": TOOL_NAME,
                    "arguments": orjson.dumps(_arguments(marker, number)).decode(),
                },
            ]
        }
        for number in range(rounds)
    ]
    return [*called, {"items": [{"type": "message", "deltas": _sentence(rounds)}]}]


def opening(marker: str) -> list[dict[str, Any]]:
    """Return the first messages of a conversation."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"Please look into the matter of {marker}."},
    ]


def result(marker: str, number: int, chars: int) -> str:
    """Return the result of the call in this round: exactly so many characters."""
    line = f"{marker} round {number}: the quick brown fox jumps over line "
    lines = (f"{line}{place}\n" for place in range(chars // len(line) + 1))
    return "".join(lines)[:chars]


def chat_messages(step: Step, result: str) -> list[dict[str, Any]]:
    """Return what a chat client adds to its messages for an answer with a call, and for the call's result."""
    if step.call is None:
        return [{"role": "assistant", "content": step.text}]
    call_id, name, arguments = step.call
    function = {"name": name, "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": step.text, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def complaint(step: Step, marker: str, number: int, rounds: int) -> str:
    """Say what is wrong with the answer of a round, nothing if it is right."""
    if step.text != "".join(_sentence(number)):
        return f"round {number}: another text than the script's: {step.text[:60]!r}"
    if number == rounds:
        return "" if step.call is None else f"round {number}: a call after the last"
    if step.call is None:
        return f"round {number}: no call"
    _, name, arguments = step.call
    try:  # some write the arguments anew, which changes nothing for who reads them
        is_right = name == TOOL_NAME and orjson.loads(arguments) == _arguments(marker, number)
    except orjson.JSONDecodeError:
        is_right = False
    return "" if is_right else f"round {number}: another call than the script's: {step.call[1:]}"


def _sentence(number: int) -> list[str]:
    return [f"Step {number}: ", "I read ", "the next ", "part ", "now."]


def _arguments(marker: str, number: int) -> dict[str, Any]:
    return {"path": f"src/{marker}.py", "part": number}


def loops(
    connect: Callable[[LoopJob, int], Conversation], cpu_ms: Callable[[int], float]
) -> Handler:
    """Return the handler of jobs of agent loops; `connect` opens the conversation with the n-th marker."""

    def handle(fields: dict[str, Any]) -> LoopReport:
        job = LoopJob(**fields)

        def watch() -> float:
            return cpu_ms(job.watched_pid) if job.watched_pid else 0.0

        return run(job, connect, watch)

    return handle


def run(
    job: LoopJob, connect: Callable[[LoopJob, int], Conversation], watch: Callable[[], float]
) -> LoopReport:
    """Run all conversations of a job at once. Blocks."""
    began = time.perf_counter()
    running = [
        gevent.spawn(_converse, job, number, connect, watch) for number in range(len(job.markers))
    ]
    gevent.joinall(running, raise_error=True)
    return _report([done.value for done in running], time.perf_counter() - began)


def _report(outcomes: Sequence[list[Round] | str | None], wall_s: float) -> LoopReport:
    right = [outcome for outcome in outcomes if isinstance(outcome, list)]
    wrong = [outcome for outcome in outcomes if isinstance(outcome, str)]
    return LoopReport(right, wall_s, len(wrong), wrong[:MOST_EXAMPLES])


def _converse(
    job: LoopJob,
    number: int,
    connect: Callable[[LoopJob, int], Conversation],
    watch: Callable[[], float],
) -> list[Round] | str:
    conversation = connect(job, number)
    try:
        return _play(job, job.markers[number], conversation, watch)
    except (AnswerError, OSError) as error:
        return str(error) or type(error).__name__
    finally:
        conversation.close()


def _play(
    job: LoopJob, marker: str, conversation: Conversation, watch: Callable[[], float]
) -> list[Round]:
    found = []
    for number in range(job.rounds + 1):
        sent = result(marker, number - 1, job.result_chars) if number else None
        before = watch()
        with gevent.Timeout(ANSWER_TIMEOUT_S, AnswerError(f"round {number}: no end in time")):
            step = conversation.next(sent)
        spent = watch() - before
        wrong = complaint(step, marker, number, job.rounds)
        if wrong:
            raise AnswerError(wrong)
        times = ((step.first - step.asked) * 1000, (step.ended - step.asked) * 1000)
        found.append(Round(*times, step.input_tokens, step.cached_tokens, spent))
    return found
