"""Conversations that go on where they were left: the same session upstream, and never another answer."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.harness import Gateway, Upstream, wait_until
from tests.e2e.raw_http import stream_frames
from tests.e2e.scrape import scrape, total
from tests.e2e.talk import THOUGHT, TOOL, Message, Talk, call, logical, said

ANSWERS = ["It ", "is ", "f", "four", ".\n"]
OTHER_TOOL = {"type": "function", "function": {"name": "see", "parameters": {"type": "object"}}}


@pytest.fixture
def keeping(lend_gateway: Callable[..., Gateway]) -> Gateway:
    return lend_gateway(PROXY_API_KEYS="other=another-key-of-thirty-characters")


@pytest.fixture
def talk(keeping: Gateway, upstream: Upstream) -> Callable[..., Talk]:
    return lambda *answers: Talk(keeping, upstream, *(answers or [[said(*ANSWERS)]]))


def lookups(gateway: Gateway, result: str) -> float:
    return total(scrape(gateway), "codex_kept_thread_lookups_total", result=result)


# It goes on


def test_a_conversation_is_one_session_upstream(talk: Callable[..., Talk]) -> None:
    here = talk()
    assert here.answer()["codex_metadata"]["continued"] is False
    assert [here.continued() for _ in range(3)] == [True] * 3
    assert here.sessions() == 1
    usages = [here.answer()["usage"]]
    assert usages[0]["completion_tokens"] == len(ANSWERS)


def test_so_is_a_loop_over_tools(talk: Callable[..., Talk]) -> None:
    two = [THOUGHT, said("Let me ", "look."), call("c1"), call("c2", '{"a": [1, {"b": "c"}]}')]
    here = talk(two, [THOUGHT, call("c3")], [said(*ANSWERS)], [said("bye")])
    here.options["tools"] = [TOOL]
    found = [here.answer() for _ in range(3)]
    assert [it["codex_metadata"]["continued"] for it in found] == [False, True, True]
    assert found[2]["choices"][0]["message"]["content"] == "".join(ANSWERS)
    assert here.said_upstream()[2] == logical(here.messages[:-1])
    assert [it["usage"]["completion_tokens"] for it in found] == [5, 2, 5]
    assert here.continued()
    assert here.sessions() == 1


def test_a_question_may_follow_the_results(talk: Callable[..., Talk]) -> None:
    here = talk([call("c1")], [said(*ANSWERS)])
    here.options["tools"] = [TOOL]
    here.ask()
    assert here.continued()
    assert here.continued()
    assert here.sessions() == 1


def test_a_stream_goes_on_too(talk: Callable[..., Talk]) -> None:
    here = talk([call("c1")], [said(*ANSWERS)])
    here.options |= {"tools": [TOOL], "stream_options": {"include_usage": True}}
    here.ask(stream=False, stream_options=None)
    _, frames = stream_frames(here.gateway, {**here.options, "messages": here.messages})
    texts = [frame["choices"][0]["delta"].get("content") for frame in frames[1:-3]]
    assert texts == ANSWERS
    finish, usage = frames[-3:-1]
    assert finish["codex_metadata"]["continued"] is True
    assert usage["usage"]["completion_tokens"] == len(ANSWERS)
    assert here.said_upstream()[-1] == logical(here.messages)


def test_codex_compacts_nothing_that_it_takes_for_long(talk: Callable[..., Talk]) -> None:
    here = talk()
    script = {"items": [said("x")], "usage": {"input_tokens": 10**12, "output_tokens": 1}}
    here.upstream.control.script(here.marker, script)
    here.ask()
    assert not here.continued()
    assert len(here.bodies()) == 2


def test_what_is_cached_is_told(talk: Callable[..., Talk]) -> None:
    cached = {"input_tokens": 5000, "cached_tokens": 4864, "output_tokens": 3}
    here = talk()
    here.ask()
    here.upstream.control.script(here.marker, {"items": [said("x")], "usage": cached})
    here.say()
    found = here.answer()
    assert found["usage"]["prompt_tokens_details"]["cached_tokens"] == 4864
    assert found["codex_metadata"]["cached_tokens"] == 4864
    assert found["usage"]["prompt_tokens"] == 5000


def echo_as_text(message: Message) -> None:
    message["content"] = [{"type": "text", "text": message["content"]}]


def echo_stripped(message: Message) -> None:
    message["content"] = message["content"].strip()


def echo_bare(message: Message) -> None:
    for name in ("refusal", "annotations", "reasoning_content"):
        message.pop(name, None)


def echo_arguments_anew(message: Message) -> None:
    for made in message["tool_calls"]:
        arguments = json.loads(made["function"]["arguments"])
        made["function"]["arguments"] = json.dumps(arguments, indent=2, sort_keys=True)
    message["content"] = ""


@pytest.mark.parametrize(
    ("answer", "alter"),
    [
        ([said(*ANSWERS)], echo_stripped),
        ([said(*ANSWERS)], echo_bare),
        ([THOUGHT, said(*ANSWERS)], echo_stripped),
        ([THOUGHT, said(*ANSWERS)], echo_bare),
        ([THOUGHT, call("c1", '{"b": 2, "a": [1]}')], echo_arguments_anew),
        ([call("c1", '{"b": 2, "a": [1]}')], echo_arguments_anew),
    ],
)
def test_clients_may_alter_what_they_echo(
    talk: Callable[..., Talk], answer: list[Message], alter: Callable[[Message], None]
) -> None:
    here = talk(answer, [said("done")])
    here.options["tools"] = [TOOL]
    here.ask()
    alter(here.messages[1])
    assert here.continued()
    assert here.sessions() == 1


def test_arguments_may_be_of_any_depth(talk: Callable[..., Talk]) -> None:
    """codex reads 127 levels, and answers deeper ones itself; the client gets them all the same."""
    arguments = '{"a":' * 300 + "1" + "}" * 300
    here = talk([call("c1", arguments)], [said(*ANSWERS)])
    here.options["tools"] = [TOOL]
    (made,) = here.ask()["tool_calls"]
    assert made["function"]["arguments"] == arguments
    assert not here.continued()
    assert here.continued()


@pytest.mark.parametrize("item", [said("long " * 100_000), call("c1", f'["{"x" * 500_000}"]')])
def test_a_long_answer_goes_on_once_it_was_read(
    make_gateway: Callable[..., Gateway], upstream: Upstream, item: Message
) -> None:
    here = Talk(make_gateway(), upstream, [item], [said(*ANSWERS)])
    here.options["tools"] = [TOOL]
    here.ask()
    wait_until(lambda: total(scrape(here.gateway), "codex_kept_threads") == 1, "it is kept")
    assert here.continued()
    assert here.sessions() == 1


def test_a_form_with_a_description_is_no_reason_to_begin_anew(talk: Callable[..., Talk]) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"name": "form", "schema": schema, "description": "A number."}
    here = talk([said('{"a"', ":11}")])
    here.options["response_format"] = {"type": "json_schema", "json_schema": form}
    here.ask()
    assert here.continued()
    assert here.sessions() == 1


FORM = {"type": "object", "properties": {"a": {"type": "integer"}}}
TWO_WORDS = {
    "name": "form",
    "description": "A number.",
    "strict": True,
    "schema": {**FORM, "required": ["a"], "additionalProperties": False, "description": "An A."},
}


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        ({"tools": [TOOL], "tool_choice": "required"}, [call()]),
        (
            {
                "tools": [TOOL, OTHER_TOOL],
                "tool_choice": {"type": "function", "function": {"name": "look"}},
            },
            [call()],
        ),
        ({"response_format": {"type": "json_object"}}, [said('{"a"', ":11}")]),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "form", "schema": FORM},
                }
            },
            [said('{"a"', ":11}")],
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": TWO_WORDS}},
            [said('{"a"', ":11}")],
        ),
    ],
    ids=["required", "named", "json_object", "json_schema", "two descriptions"],
)
def test_what_is_instructed_in_every_round_goes_on(
    keeping: Gateway,
    lend_gateway: Callable[..., Gateway],
    upstream: Upstream,
    options: dict[str, Any],
    answers: list[Message],
) -> None:
    fresh = lend_gateway(WORKER_KEPT_THREADS="0")
    here, there = (Talk(gateway, upstream, answers) for gateway in (keeping, fresh))
    for one in (here, there):
        one.messages.insert(0, {"role": "system", "content": "Be brief."})
        one.options |= options
        for number in range(4):
            one.upstream.control.script(one.marker, {"items": numbered(answers, number)})
            found = one.answer()
            assert found["codex_metadata"]["continued"] is (one is here and number > 0)
            if one.messages[-1]["role"] == "assistant":
                one.say()
    assert here.sessions() == 1
    ours, theirs = (
        [str(items).replace(one.marker, "M") for items in one.said_upstream()]
        for one in (here, there)
    )
    assert ours == theirs
    last = here.said_upstream()[-1]
    assert [role for role, _ in last[:3]] == ["developer", "developer", "user"]
    assert [last[0], *last[2:]] == logical(here.messages[: here.answered()])


def numbered(answers: list[Message], number: int) -> list[Message]:
    return [{**it, "call_id": f"c{number}"} if "call_id" in it else it for it in answers]


# It begins anew, with the same answer


def edit_question(here: Talk) -> None:
    here.messages[0] = {"role": "user", "content": here.messages[0]["content"] + "!"}


def edit_answer(here: Talk) -> None:
    here.messages[1] = {"role": "assistant", "content": "It is five."}


def add_system(here: Talk) -> None:
    here.messages.insert(0, {"role": "developer", "content": "Be brief."})


def shorten(here: Talk) -> None:
    del here.messages[2:4]


def condense(here: Talk) -> None:
    here.messages[1:4] = [{"role": "assistant", "content": "(It was about numbers.)"}]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(edit_question, "other", id="question edited"),
        pytest.param(edit_answer, "other", id="answer edited"),
        pytest.param(add_system, "other", id="instruction added"),
        pytest.param(shorten, "taken", id="shortened"),
        pytest.param(condense, "other", id="condensed"),
        pytest.param(lambda here: here.options.update(model="gpt-5.6-sol"), "terms", id="model"),
        pytest.param(
            lambda here: here.options.update(reasoning_effort="low"), "terms", id="effort"
        ),
        pytest.param(lambda here: here.options.update(verbosity="low"), "terms", id="verbosity"),
        pytest.param(lambda here: here.options.update(tools=[OTHER_TOOL]), "terms", id="tools"),
        pytest.param(lambda here: here.options.update(user="somebody"), "name", id="name"),
        pytest.param(
            lambda here: here.headers.update({"X-Session-Id": "s2"}), "name", id="name in a header"
        ),
        pytest.param(
            lambda here: here.headers.update(
                Authorization="Bearer another-key-of-thirty-characters"
            ),
            "other",
            id="key",
        ),
    ],
)
def test_any_doubt_is_a_fresh_thread(
    talk: Callable[..., Talk], change: Callable[[Talk], object], reason: str
) -> None:
    here = talk()
    here.ask()
    assert here.continued()
    change(here)
    before = lookups(here.gateway, reason)
    assert not here.continued()
    assert lookups(here.gateway, reason) == before + 1
    assert here.sessions() == 2
    assert here.continued()


def test_a_conversation_may_be_forked_and_both_go_on(talk: Callable[..., Talk]) -> None:
    here = talk()
    here.ask()
    fork = list(here.messages)
    assert here.continued()
    here.messages, main = fork, here.messages
    assert not here.continued()
    assert here.continued()
    here.messages = main
    assert here.continued()
    assert here.sessions() == 2


def test_of_two_at_once_each_has_its_own_thread(
    talk: Callable[..., Talk],
) -> None:
    here = talk()
    here.ask()
    here.say()
    held = {"items": [said("a", "b")], "hold": "deltas"}
    here.upstream.control.script(here.marker, held)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(here.post) for _ in range(2)]
        here.upstream.control.wait("held", here.marker, count=2)
        here.upstream.control.release(here.marker)
        found = [answer.result().json() for answer in answers]
    assert sorted(it["codex_metadata"]["continued"] for it in found) == [False, True]
    assert {it["choices"][0]["message"]["content"] for it in found} == {"ab"}
    assert here.said_upstream()[-2:] == [logical(here.messages)] * 2


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        pytest.param([said("one ", "STOP", " two")], {"stop": "STOP"}, id="stop"),
        pytest.param([said(*"abcdefgh")], {"max_tokens": 3}, id="max_tokens"),
        pytest.param(
            [call("c1"), call("c2")], {"tools": [TOOL], "parallel_tool_calls": False}, id="one call"
        ),
        pytest.param([said("```json\n{}\n```")], {"response_format": {"type": "json_object"}}, id="fence"),
        pytest.param([call("c1")], {"tools": [TOOL], "tool_choice": "required"}, id="required"),
    ],
)  # fmt: skip
def test_what_a_client_did_not_get_is_never_in_its_conversation(
    talk: Callable[..., Talk], answer: list[Message], options: dict[str, Any]
) -> None:
    here = talk(answer, [said(*ANSWERS)])
    here.ask(**options)
    here.options["tools"] = options.get("tools", [])
    assert not here.continued()
    assert here.continued()


def test_an_answer_whose_client_left_is_not_gone_on_with(talk: Callable[..., Talk]) -> None:
    here = talk()
    here.upstream.control.script(
        here.marker, {"items": [said("a", "b", "c")], "hold_after": 1, "hold": "deltas"}
    )
    body = {**here.options, "messages": here.messages, "stream": True}
    with here.gateway.post(body, stream=True) as response:
        lines = response.iter_lines()
        while b'"a"' not in next(lines):
            pass
    here.upstream.control.wait("peer_closed", here.marker)
    here.upstream.control.script(here.marker, {"items": [said(*ANSWERS)]})
    here.messages.append({"role": "assistant", "content": "a"})
    assert not here.continued()


@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_after_results_is_an_error_of_http(
    talk: Callable[..., Talk], stream: bool
) -> None:
    """What codex repeats of the results is no beginning of an answer."""
    here = talk([call("c1")])
    here.options["tools"] = [TOOL]
    here.ask()
    here.upstream.control.script(here.marker, {"failure": {"name": "rate_limited"}})
    answer = here.post(stream=stream)
    assert answer.status_code == 429
    here.upstream.control.script(here.marker, {"items": [said(*ANSWERS)]})
    assert here.ask()["content"] == "".join(ANSWERS)
    assert here.said_upstream()[-1] == logical(here.messages[:-1])


@pytest.mark.parametrize("stream", [True, False])
def test_a_thought_that_only_the_thread_holds_may_be_refused(
    talk: Callable[..., Talk], stream: bool
) -> None:
    here = talk([{**THOUGHT, "sealed": None}, said("x")])
    here.ask()
    error = {"message": "It could not be verified.", "code": "invalid_encrypted_content"}
    refusal = {"failure": {"name": "bad_request", "body": {"error": error}}}
    here.upstream.control.script(here.marker, [refusal, {"items": [said(*ANSWERS)]}])
    here.say()
    answer = here.post(stream=stream)
    assert answer.status_code == 200, answer.text
    *_, refused, fresh = here.bodies()
    assert "reasoning" in {item["type"] for item in refused["input"]}
    assert "reasoning" not in {item["type"] for item in fresh["input"]}
    assert here.said_upstream()[-1] == logical(here.messages)


# Keys


def test_nothing_of_one_key_reaches_another(talk: Callable[..., Talk]) -> None:
    """Both say the same, and only the answers differ."""
    keys = ["another-key-of-thirty-characters", None]
    here = talk()
    conversations: dict[str | None, list[Message]] = {key: list(here.messages) for key in keys}
    for number in range(4):
        for key in keys:
            canary = f"canary {number} of {key}"
            here.upstream.control.script(here.marker, {"items": [THOUGHT, said(canary)]})
            here.headers = {"Authorization": f"Bearer {key}"} if key else {}
            here.messages = conversations[key]
            if number:
                here.say()
            found = here.answer()
            assert found["codex_metadata"]["continued"] is bool(number)
            sent = json.dumps(here.bodies()[-1]["input"])
            assert not any(f"of {other}" in sent for other in keys if other != key)
            assert sent.count(f"of {key}") == number
    assert here.sessions() == 2


# Bounds and ends


def test_it_can_be_switched_off(lend_gateway: Callable[..., Gateway], upstream: Upstream) -> None:
    here = Talk(lend_gateway(WORKER_KEPT_THREADS="0"), upstream, [said(*ANSWERS)])
    before = lookups(here.gateway, "off")
    here.ask()
    assert not here.continued()
    assert here.sessions() == 2
    assert lookups(here.gateway, "off") == before + 2
    assert total(scrape(here.gateway), "codex_kept_threads") == 0


def test_only_so_many_are_kept_and_the_rest_is_unloaded(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(WORKER_KEPT_THREADS="2")
    talks = [Talk(gateway, upstream, [call("c1")], [said("x")]) for _ in range(3)]
    for here in talks:
        here.options["tools"] = [TOOL]
        here.ask()
    samples = scrape(gateway)
    assert total(samples, "codex_kept_threads") == 2
    assert total(samples, "codex_kept_thread_bytes") > 0
    assert total(samples, "codex_kept_thread_evictions_total", reason="evicted") == 1
    assert [here.continued() for here in talks[::-1]] == [True, True, False]
    assert lookups(gateway, "evicted") == 1
    assert total(scrape(gateway), "codex_rpc_anomalies_total", kind="orphan_event") == 0


def test_they_are_kept_for_a_time(make_gateway: Callable[..., Gateway], upstream: Upstream) -> None:
    here = Talk(make_gateway(WORKER_KEPT_THREAD_TTL_S="1"), upstream, [said(*ANSWERS)])
    here.ask()
    wait_until(
        lambda: total(scrape(here.gateway), "codex_kept_thread_evictions_total", reason="expired"),
        "it has expired",
    )
    assert not here.continued()
    assert lookups(here.gateway, "expired") == 1


@pytest.mark.parametrize("waits_for_results", [True, False])
def test_a_child_that_dies_costs_one_miss_and_no_answer(
    make_gateway: Callable[..., Gateway], upstream: Upstream, waits_for_results: bool
) -> None:
    answer = [call("c1")] if waits_for_results else [said("x")]
    here = Talk(make_gateway(), upstream, answer, [said(*ANSWERS)])
    here.options["tools"] = [TOOL]
    here.ask()
    here.gateway.child().kill()
    wait_until(lambda: here.gateway.health()["restarts"] == 1, "another one has started")
    here.gateway.wait_ready()
    assert not here.continued()
    assert here.continued()
    assert total(scrape(here.gateway), "codex_kept_thread_evictions_total", reason="lost") == 0


def test_a_reload_costs_one_miss_and_no_answer(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    here = Talk(make_gateway(), upstream, [said(*ANSWERS)])
    here.ask()
    (old,) = here.gateway.workers()
    here.gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: old not in here.gateway.workers(), "the old worker has gone")
    assert not here.continued()
    assert here.continued()
