"""Conversations that go on: what the upstream made of an answer goes back to it as it came, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.raw_http import stream_frames
from tests.e2e.talk import THOUGHT, TOOL, Message, Talk, call, said

STRICT = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}


LOOK = said("Let ", "me ", "look.", phase="commentary")
FOUR = said("It ", "is ", "f", "four", ".", phase="final_answer")


def offering(talk: Talk) -> Talk:
    talk.options["tools"] = [TOOL]
    return talk


@pytest.fixture
def talk(gateway: Gateway, upstream: Upstream) -> Callable[..., Talk]:
    return lambda *answers: offering(Talk(gateway, upstream, *answers))


def kinds(items: list[Message]) -> list[str]:
    return [item["type"] for item in items]


def alike(items: Iterable[Message]) -> list[Message]:
    """Items without what codex alone adds: ids to those that have none, and what it knows of its own answers."""
    return [
        {
            name: value
            for name, value in item.items()
            if name not in {"id", "status"} and value is not None
        }
        for item in items
    ]


# Encrypted reasoning


def test_a_tool_loop_gives_its_thoughts_back_under_their_own_ids(talk: Callable[..., Talk]) -> None:
    """The upstream refuses encrypted content under any other id."""
    loop = talk([THOUGHT, call()], [THOUGHT, call()], [said("done")])
    loop.ask()
    loop.ask()
    assert loop.ask()["content"] == "done"
    first, second, third = loop.sent()
    assert kinds(first) == ["message"]
    assert kinds(second) == ["message", "reasoning", "function_call", "function_call_output"]
    assert kinds(third) == kinds(second) + kinds(second)[1:]
    thoughts = [item for item in third if item["type"] == "reasoning"]
    assert all(item["encrypted_content"].endswith(item["id"]) for item in thoughts)
    assert alike(third[: len(second)]) == alike(
        second
    )  # so that what was cached upstream stays good
    assert "opaque" not in json.dumps(loop.messages)


@pytest.mark.parametrize(
    "others", [{"model": "gpt-5.6-sol"}, {"messages": "another"}], ids=["model", "conversation"]
)
def test_a_thought_stays_in_its_conversation_and_with_its_model(
    talk: Callable[..., Talk], others: dict[str, Any]
) -> None:
    loop, other = talk([THOUGHT, call()]), talk([said("done")])
    loop.ask()
    other.messages = [other.messages[0], *loop.messages[1:]]
    if "model" in others:
        other.messages = [*loop.messages, other.messages[0]]
        other.options["model"] = others["model"]
    other.ask()
    (items,) = other.sent()
    assert "reasoning" not in kinds(items)


REFUSED = "The encrypted content could not be verified."
REFUSALS: list[dict[str, Any]] = [
    {
        "name": "bad_request",
        "body": {"error": {"message": REFUSED, "code": "invalid_encrypted_content"}},
    },
    {"name": "failed_server_error", "message": REFUSED},  # in the stream
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["at once", "in the stream"])
def test_a_thought_that_is_refused_all_the_same_is_left_out(
    talk: Callable[..., Talk], refusal: dict[str, Any]
) -> None:
    loop = talk([THOUGHT, call()])
    loop.ask()
    loop.upstream.control.script(loop.marker, [{"failure": refusal}, {"items": [said("done")]}])
    assert loop.ask()["content"] == "done"
    *_, second, third = loop.sent()
    assert alike(item for item in second if item["type"] != "reasoning") == alike(third)
    loop.say("and now?")
    loop.ask()
    assert "reasoning" not in kinds(loop.sent()[-1])  # it is not tried again


def test_one_that_is_refused_too_late_is_left_out_of_the_next_request(
    talk: Callable[..., Talk],
) -> None:
    loop = talk([THOUGHT, call()])
    loop.ask()
    failure = {**REFUSALS[1], "after_deltas": 1}
    late = {"items": [said("Hm", ".")], "failure": failure, "hold_after": 1}
    loop.upstream.control.script(loop.marker, [late, {"items": [said("done")]}])
    body = {**loop.options, "messages": loop.messages, "stream": True}
    with loop.gateway.post(body, stream=True) as response:
        lines = (line for line in response.iter_lines() if line)
        while b'"Hm"' not in next(lines):
            pass
        loop.upstream.control.release(loop.marker)
        *_, error, _done = lines
    assert b'"invalid_encrypted_content"' in error
    assert loop.ask()["content"] == "done"
    assert "reasoning" not in kinds(loop.sent()[-1])


# Several messages


def test_the_messages_of_one_answer_are_parted(talk: Callable[..., Talk]) -> None:
    loop = talk([LOOK, FOUR])
    assert loop.ask()["content"] == "Let me look.\n\nIt is ffour."
    _, frames = stream_frames(loop.gateway, {**loop.options, "messages": loop.messages[:1]})
    texts = [frame["choices"][0]["delta"].get("content") for frame in frames[1:-2]]
    assert texts == [*LOOK["deltas"], "\n\n", *FOUR["deltas"]]


def test_phases_go_back_as_they_came(talk: Callable[..., Talk]) -> None:
    loop = talk([LOOK, FOUR], [said("done")])
    loop.ask()
    loop.say("and now?")
    loop.ask()
    answer = [item for item in loop.sent()[-1] if item.get("role") == "assistant"]
    told = [(item["phase"], item["content"][0]["text"]) for item in answer]
    assert told == [("commentary", "Let me look."), ("final_answer", "It is ffour.")]


def test_phases_go_back_between_calls_too(talk: Callable[..., Talk]) -> None:
    loop = talk([THOUGHT, LOOK, call()], [FOUR])
    loop.ask()
    loop.messages[1]["content"] = None  # many clients leave it out beside calls
    assert loop.ask()["content"] == "It is ffour."
    assert kinds(loop.sent()[-1]) == [
        *("message", "reasoning", "message", "function_call", "function_call_output"),
    ]
    assert loop.sent()[-1][2]["phase"] == "commentary"


@pytest.mark.parametrize("phases", [("commentary", "final_answer"), (None, None)])
@pytest.mark.parametrize("output", [STRICT, {"type": "json_object"}], ids=["strict", "json_object"])
def test_a_structured_answer_is_the_last_message_alone(
    talk: Callable[..., Talk], phases: tuple[Any, Any], output: dict[str, Any]
) -> None:
    first, last = phases
    loop = talk([said("Let ", "me look.", phase=first), said('{"a"', ":1", "1}", phase=last)])
    loop.options = {"model": MODEL, "response_format": output}
    assert json.loads(loop.ask()["content"]) == {"a": 11}
    assert len(loop.sent()) == 1
    _, frames = stream_frames(loop.gateway, {**loop.options, "messages": loop.messages[:1]})
    texts = [frame["choices"][0]["delta"].get("content") or "" for frame in frames[:-1]]
    assert "".join(texts) == '{"a":11}'


def test_commentary_can_be_shown_as_reasoning(lend_gateway: Any, upstream: Upstream) -> None:
    loop = Talk(lend_gateway(PROXY_COMMENTARY="reasoning_content"), upstream, [LOOK, FOUR], [FOUR])
    message = loop.ask()
    assert message["content"] == "It is ffour."
    assert message["reasoning_content"] == "Let me look."
    loop.say("and now?")
    loop.ask()
    phases = [item.get("phase") for item in loop.sent()[-1] if item.get("role") == "assistant"]
    assert phases == ["commentary", "final_answer"]


@pytest.mark.parametrize(
    "pieces", [["``", "`json\n", "{", "}", "\n``", "`"], ["```\n{}\n```\nDone."]]
)
def test_a_fence_is_taken_off_a_stream(
    gateway: Gateway, upstream: Upstream, pieces: list[str]
) -> None:
    loop = Talk(gateway, upstream, [said(*pieces)])
    loop.options = {"model": MODEL, "response_format": {"type": "json_object"}}
    _, frames = stream_frames(gateway, {**loop.options, "messages": loop.messages})
    texts = [frame["choices"][0]["delta"].get("content") or "" for frame in frames[:-1]]
    assert "".join(texts) == "{}"


# Ids of calls


@pytest.mark.parametrize("call_id", ["call_0", "", "x" * 80], ids=["again", "empty", "long"])
def test_an_id_that_the_upstream_would_refuse_has_a_stand_in(
    talk: Callable[..., Talk], call_id: str
) -> None:
    loop = talk([THOUGHT, call(call_id)], [THOUGHT, call(call_id)], [said("done")])
    made = [loop.ask()["tool_calls"][0]["id"] for _ in range(2)]
    assert all(made)
    assert loop.ask()["content"] == "done"
    items = loop.sent()[-1]
    ids = [item["call_id"] for item in items if item["type"] == "function_call"]
    assert len(set(ids)) == 2
    assert kinds(items).count("reasoning") == 2
    assert alike(items[: len(loop.sent()[1])]) == alike(loop.sent()[1])


def test_two_calls_of_one_id_are_told_apart(talk: Callable[..., Talk]) -> None:
    loop = talk([call("c", '{"n":1}'), call("c", '{"n":2}')], [said("done")])
    made = loop.ask()["tool_calls"]
    assert made[0]["id"] != made[1]["id"]
    assert loop.ask()["content"] == "done"


def test_a_history_may_give_one_id_to_two_calls(gateway: Gateway, upstream: Upstream) -> None:
    """Results of one id are those of its calls, in their order."""
    marker = upstream.say("done")
    function = {"type": "function", "id": "c", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": marker},
        {"role": "assistant", "content": None, "tool_calls": [function, function]},
        *({"role": "tool", "tool_call_id": "c", "content": result} for result in ("1", "2")),
    ]
    assert gateway.post({"model": MODEL, "messages": messages}).status_code == 200
    (request,) = upstream.control.requests(marker)
    _, first, second, *results = request["body"]["input"]
    assert [result["call_id"] for result in results] == [first["call_id"], second["call_id"]]
    assert [result["output"] for result in results] == ["1", "2"]


# Text without deltas


@pytest.mark.parametrize(
    ("deltas", "unsent"), [([], "Hello"), (["H", "el"], "lo"), (["e"], "\u0301!")]
)
def test_text_that_only_the_whole_item_has_is_no_refusal(
    talk: Callable[..., Talk], deltas: list[str], unsent: str
) -> None:
    loop = talk([said(*deltas, unsent=unsent)])
    message = loop.ask()
    assert (message["content"], message["refusal"]) == ("".join(deltas) + unsent, None)
    _, frames = stream_frames(loop.gateway, {**loop.options, "messages": loop.messages[:1]})
    texts = [frame["choices"][0]["delta"].get("content") for frame in frames[1:-2]]
    assert texts == [*deltas, unsent]


def test_so_is_a_summary_and_its_parts_are_parted(talk: Callable[..., Talk]) -> None:
    thoughts = [
        {"type": "reasoning", "summary_deltas": ["th", "ink"], "unsent": "ing"},
        {"type": "reasoning", "summary_deltas": ["m", "more"]},
    ]
    assert talk([*thoughts, said("x")]).ask()["reasoning_content"] == "thinking\n\nmmore"
