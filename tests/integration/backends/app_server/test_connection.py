"""A generation over a real process that follows a scenario: `tests/fakes/app_server.py`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from dataclasses import replace
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original

from app.backend.events import (
    Event,
    RawItem,
    ResponseCompleted,
    TurnEnded,
    TurnStatus,
)
from app.backend.observer import TurnState
from app.backends.app_server.parse_events import ProtocolError
from app.backends.app_server.server_request_policy import ANSWERS
from app.errors import (
    Draining,
    InternalError,
    InvalidRequest,
    RequestPart,
    UpstreamError,
    WorkerLost,
    WorkerUnavailable,
)
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed
from tests.fakes import app_server
from tests.fakes.app_server import completed, delta
from tests.fakes.engines import texts
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, outcome, result
from tests.integration.backends.app_server.stage import (
    LADDER,
    NOTHING_TO_INTERRUPT,
    OVERLOADED,
    PATIENT,
    REQUEST,
    RESPONSE,
    SHORT_S,
    STANDARD,
    TOOL,
    WITH_TOOLS,
    Make,
    Stage,
    follow,
    raw_call,
    tool_call,
)

NATIVE_SELECT = get_original("select", "select")
NATIVE_SLEEP = get_original("time", "sleep")


# The handshake


def test_the_handshake_learns_the_version_and_every_page_of_models(make: Make) -> None:
    stage = make()
    generation = stage.shake_hands()
    assert generation.user_agent == "fake/1.2.3"
    assert [model.id for model in generation.models] == ["model-a", "model-b"]
    assert generation.models[0].efforts == ("low", "high")
    methods = [message["method"] for message in stage.heard()]
    assert methods == ["initialize", "initialized", "model/list", "model/list"]
    assert stage.heard("initialize")[0]["clientInfo"]["version"] == "9.9.9"
    assert stage.heard("model/list") == [{}, {"cursor": "page-2"}]
    assert repr(generation).startswith(f"<Connection 7 pid={stage.child.pid} turns=0 <Channel OPEN")


@pytest.mark.parametrize(
    ("method", "answer", "error"),
    [
        ("initialize", {}, ProtocolError),
        ("initialize", {"userAgent": 1}, ProtocolError),
        ("initialize", None, ProtocolError),
        ("model/list", {}, ProtocolError),
        ("model/list", {"data": {}}, ProtocolError),
        ("model/list", {"data": [None]}, ProtocolError),
        ("model/list", {"data": [{**app_server.MODEL, "model": None}]}, ProtocolError),
        (
            "model/list",
            {"data": [{**app_server.MODEL, "supportedReasoningEfforts": [1]}]},
            ProtocolError,
        ),
    ],
)
def test_a_handshake_with_a_senseless_result_fails(
    make: Make, method: str, answer: object, error: type[Exception]
) -> None:
    stage = make({method: [[{"result": answer}]]})
    assert isinstance(outcome(stage.shake_hands), error)
    assert stage.generation.models == ()


@pytest.mark.parametrize("method", ["initialize", "model/list"])
def test_a_child_that_dies_in_the_handshake_fails_it(make: Make, method: str) -> None:
    stage = make({method: [[{"exit": 3}]]})
    assert isinstance(outcome(stage.shake_hands), ChannelClosed)
    assert stage.child.wait(DEADLINE_S) == 3
    assert stage.lost == [stage.generation]


def test_a_child_that_refuses_the_handshake_fails_it(make: Make) -> None:
    stage = make({"initialize": [[{"error": {"code": -32600, "message": "no"}}]]})
    assert isinstance(outcome(stage.shake_hands), CallRefused)


def test_a_child_that_never_answers_fails_the_handshake_in_time(make: Make) -> None:
    stage = make({"initialize": [[]]})
    error = outcome(stage.generation.shake_hands, "1", SHORT_S, lambda: None)
    assert isinstance(error, CallTimeout)


def test_garbage_before_the_handshake_is_survived(make: Make) -> None:
    stage = make({"initialize": [[{"line": "Welcome!\n\n[]\n"}, STANDARD]]})
    assert stage.shake_hands().user_agent == "fake/1.2.3"
    assert stage.generation.channel.counters == {"malformed": 2}


def test_a_log_database_that_cannot_be_silenced_is_no_reason_to_refuse(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise sqlite3.OperationalError("database is locked")

    assert make().shake_hands(refuse).models
    assert "codex_log_not_silenced" in [record.getMessage() for record in caplog.records]


def test_a_lock_on_the_log_database_holds_up_nothing_else(make: Make) -> None:
    readable, writable = os.pipe()
    went_on: list[bool] = []

    def wait_for_a_lock() -> None:
        went_on.append(bool(NATIVE_SELECT([readable], [], [], SHORT_S * 50)[0]))

    stage = make()
    handshake = in_background(stage.shake_hands, wait_for_a_lock)
    stage.await_heard("model/list", 2)
    gevent.spawn_later(SHORT_S, os.write, writable, b"x")
    assert result(handshake).models
    assert went_on == [True]
    os.close(readable)
    os.close(writable)


def test_a_child_that_hangs_up_meanwhile_fails_the_handshake(make: Make) -> None:
    stage = make({"model/list": [[STANDARD], [STANDARD, {"close_stdout": True}]]})

    def wait_for_a_lock() -> None:
        end = time.monotonic() + DEADLINE_S
        while not stage.generation.channel.is_closed and time.monotonic() < end:
            NATIVE_SLEEP(0.01)

    assert isinstance(outcome(stage.shake_hands, wait_for_a_lock), ChannelClosed)


# A turn


def test_a_turn_is_a_thread_with_the_history_and_no_input(make: Make) -> None:
    stage = make({"turn/start": [[STANDARD, delta("Grü"), delta("ße"), completed()]]})
    stage.shake_hands()
    turn = stage.begin()
    assert (turn.thread_id, turn.turn_id) == ("thread-1", "turn-of-thread-1")
    assert turn.generation == 7
    events = follow(turn)
    assert texts(events) == ["Grü", "ße"]
    assert events[-1] == TurnEnded(TurnStatus.COMPLETED)
    assert len(stage.generation.threads) == 1
    turn.close()
    stage.await_unsubscribed()
    assert stage.given_back == 1
    assert stage.heard("thread/start")[0]["model"] == "model-a"
    assert stage.heard("thread/inject_items") == [
        {"threadId": "thread-1", "items": list(REQUEST.items)}
    ]
    assert stage.heard("turn/start") == [
        {"threadId": "thread-1", "input": [], "model": "model-a", "effort": "high"}
    ]
    assert stage.heard("turn/interrupt") == []


def test_a_turn_may_be_over_before_its_start_is_answered(make: Make) -> None:
    stage = make({"turn/start": [[delta("a"), completed(), STANDARD]]})
    stage.shake_hands()
    turn = stage.begin()
    assert turn.state is TurnState.COMPLETED
    assert texts(follow(turn)) == ["a"]
    turn.close()
    stage.await_unsubscribed()
    assert stage.heard("turn/interrupt") == []


def test_events_go_to_their_own_turn(make: Make) -> None:
    alone = [[STANDARD], [STANDARD, delta("b"), completed()]]
    stage = make({"turn/start": alone})
    stage.shake_hands()
    first, second = stage.begin(), stage.begin()
    assert texts(follow(second)) == ["b"]
    assert first.take(0) == []
    first.close()
    second.close()
    stage.await_unsubscribed(2)
    assert stage.heard("turn/interrupt") == [{"threadId": "thread-1", "turnId": "turn-of-thread-1"}]


@pytest.mark.parametrize("answer", [{}, None, {"thread": 1}, {"thread": {"id": 1}}, []])
def test_a_thread_without_an_id_is_a_protocol_error(
    make: Make, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    stage = make({"thread/start": [[{"result": answer}]]})
    stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), UpstreamError)
    (line,) = [one for one in caplog.records if one.message == "codex_protocol_error"]
    assert vars(line)["field"] in {"thread", "id"}
    assert len(stage.generation.threads) == 0
    assert stage.heard("turn/start") == []


@pytest.mark.parametrize("answer", [{}, None, {"turn": []}, {"turn": {"id": None}}])
def test_a_turn_without_an_id_is_a_protocol_error_and_its_thread_is_given_back(
    make: Make, answer: object
) -> None:
    stage = make({"turn/start": [[{"result": answer}]]})
    stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), UpstreamError)
    stage.await_unsubscribed()
    assert stage.given_back == 0  # the slot is still whose it was


REFUSED_ITEMS = {"thread/inject_items": [[{"error": {"code": -32600, "message": "sk-secret"}}]]}
IMAGE = {"type": "input_image", "image_url": "data:,"}


def test_refused_items_are_the_callers_fault(make: Make) -> None:
    stage = make(REFUSED_ITEMS)
    stage.shake_hands()
    shown = {"type": "message", "role": "user", "content": [IMAGE]}
    error = stage.begin_in_vain(replace(REQUEST, items=(shown,)))
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.part) == (400, RequestPart.PROMPT)
    assert "sk-secret" not in error.message
    stage.await_unsubscribed()
    assert stage.heard("turn/start") == []
    assert stage.given_back == 0  # the slot is still whose it was


def test_a_turn_that_was_asked_for_with_refused_items_is_interrupted(make: Make) -> None:
    stage = make(REFUSED_ITEMS)
    stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), InvalidRequest)
    assert len(stage.heard("turn/start")) == 1
    (interrupted,) = stage.await_heard("turn/interrupt")
    assert interrupted == {"threadId": "thread-1", "turnId": "turn-of-thread-1"}
    stage.await_unsubscribed(2)


def test_such_a_turn_is_interrupted_again_where_that_came_too_early(make: Make) -> None:
    stage = make({**REFUSED_ITEMS, "turn/interrupt": [[NOTHING_TO_INTERRUPT], [STANDARD]]})
    stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), InvalidRequest)
    stage.await_heard("turn/interrupt", 2)
    stage.await_unsubscribed(2)


OF_TURN = {"threadId": "thread-1", "turnId": "turn-of-thread-1"}


def lines(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the step that writes all of these at once, so that one read brings them."""
    compact = (json.dumps(one, separators=(",", ":")) for one in messages)
    return [STANDARD, {"line": "".join(f"{line}\n" for line in compact)}]


def piece(text: str, **params: Any) -> dict[str, Any]:
    params = {**OF_TURN, "itemId": "item-1", "delta": text} | params
    return {"method": "item/agentMessage/delta", "params": params}


END = {"status": "completed", "id": OF_TURN["turnId"]}
DONE = {"method": "turn/completed", "params": {"threadId": "thread-1", "turn": END}}
THOUGHT = {**OF_TURN, "itemId": "r", "delta": "hm", "summaryIndex": 0}
ASKED = {"threadId": "thread-1", "turnId": "turn-of-thread-1", "callId": "c", "tool": "f"}


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ([], "abcd"),
        ([{"method": "item/reasoning/summaryTextDelta", "params": THOUGHT}], "ab|cd"),
        ([piece("x", turnId="another")], "abcd"),
        ([piece("y", itemId="item-2"), piece("z", itemId="item-2")], "abyzcd"),
        ([{"method": "item/agentMessage/delta", "params": {"threadId": 1}}], "abcd"),
        ([{"method": "item/tool/call", "id": "ask", "params": ASKED}], "abcd"),
    ],
)
def test_pieces_of_one_read_keep_their_place_among_everything_else(
    make: Make, between: list[dict[str, Any]], expected: str
) -> None:
    pieces = [piece(text) for text in "abcd"]
    stage = make({"turn/start": [lines(*pieces[:2], *between, *pieces[2:], DONE)]})
    stage.shake_hands()
    events = follow(stage.begin())
    said = ["".join(texts([event])) or "|" for event in events]
    assert "".join(said).rstrip("|") == expected
    assert isinstance(events[-1], TurnEnded)


@pytest.mark.parametrize("method", ["thread/start", "thread/inject_items", "turn/start"])
def test_an_overloaded_child_is_unavailable_not_wrong(make: Make, method: str) -> None:
    stage = make({method: [[OVERLOADED]]})
    stage.shake_hands()
    error = stage.begin_in_vain()
    assert type(error) is WorkerUnavailable
    assert (error.status, error.retryable) == (503, True)


@pytest.mark.parametrize("method", ["thread/start", "turn/start"])
def test_any_other_refusal_is_an_internal_error_and_logged(
    make: Make, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage = make({method: [[{"error": {"code": -32600, "message": "sk-secret"}}]]})
    stage.shake_hands()
    error = stage.begin_in_vain()
    assert isinstance(error, InternalError)
    assert "sk-secret" not in str(error.to_envelope())
    (line,) = [one for one in caplog.records if one.message == "codex_call_refused"]
    assert (vars(line)["method"], vars(line)["code"]) == (method, -32600)
    assert "sk-secret" not in str(vars(line))


@pytest.mark.parametrize("method", ["thread/start", "thread/inject_items", "turn/start"])
def test_a_child_that_does_not_answer_is_unavailable_in_time(make: Make, method: str) -> None:
    stage = make({method: [[]]}, rpc_timeout_s=1.0)
    stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), WorkerUnavailable)
    eventually(lambda: len(stage.generation.threads) == 0)


@pytest.mark.parametrize("method", ["thread/start", "thread/inject_items", "turn/start"])
def test_a_child_that_dies_under_the_start_is_unavailable(make: Make, method: str) -> None:
    stage = make({method: [[{"exit": 1}]]})
    stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), WorkerLost)
    eventually(lambda: len(stage.generation.threads) == 0)
    assert stage.lost == [stage.generation]


# What the child asks of us

DECLINED: dict[str, Any] = {
    "item/commandExecution/requestApproval": {"decision": "decline"},
    "item/fileChange/requestApproval": {"decision": "decline"},
    "item/permissions/requestApproval": {"permissions": {}, "scope": "turn"},
    "item/tool/requestUserInput": {"answers": {}},
    "item/tool/call": {
        "contentItems": [{"type": "inputText", "text": "This gateway runs no tools."}],
        "success": False,
    },
    "mcpServer/elicitation/request": {"action": "decline", "content": None},
    "applyPatchApproval": {"decision": {"denied": {"rejection": "This gateway runs no tools."}}},
    "execCommandApproval": {"decision": {"denied": {"rejection": "This gateway runs no tools."}}},
}
REFUSED = (
    "account/chatgptAuthTokens/refresh",
    "attestation/generate",
    "currentTime/read",
    "a/method/of/tomorrow",
)


def test_everything_that_the_child_asks_for_is_declined(make: Make) -> None:
    assert {*DECLINED, *REFUSED} > set(ANSWERS)
    asked = [*DECLINED, *REFUSED]
    asking = [{"ask": {"id": f"ask {name}", "method": name, "params": {}}} for name in asked]
    stage = make({"turn/start": [[STANDARD, *asking]]})
    stage.shake_hands()
    turn = stage.begin()

    def answers() -> dict[str, Any]:
        heard = [one for one in stage.heard() if "method" not in one]
        return {one["id"].removeprefix("ask "): one for one in heard}

    eventually(lambda: len(answers()) == len(asked))
    assert not turn.has_tools
    for name, declined in DECLINED.items():
        assert answers()[name]["result"] == declined
    for name in REFUSED:
        assert answers()[name]["error"]["code"] == -32601
    assert stage.generation.counters == {"server_request": len(asked)}
    assert turn.state is TurnState.RUNNING
    turn.close()


# Tools of the client


def answered(stage: Stage) -> list[str]:
    return [one["id"] for one in stage.heard() if "method" not in one]


def test_a_turn_offers_the_tools_of_its_client(make: Make) -> None:
    stage = make()
    stage.shake_hands()
    assert stage.begin(WITH_TOOLS).has_tools
    assert not stage.begin().has_tools
    started = stage.heard("thread/start")
    assert [one.get("dynamicTools") for one in started] == [[TOOL], None]
    stage.generation.fail_turns(Draining("soon"))
    for turn in stage.generation.threads.turns():
        turn.close()
    stage.await_unsubscribed(2)


def test_a_call_of_a_client_s_tool_gets_no_answer_and_is_heard(make: Make) -> None:
    calls = [raw_call("a"), tool_call("a"), raw_call("b"), tool_call("b"), RESPONSE]
    stage = make({"turn/start": [[STANDARD, *calls, delta("last")]]})
    stage.shake_hands()
    turn = stage.begin(WITH_TOOLS)
    heard: list[Event] = []
    with deadline():
        for batch in turn.follow(PATIENT):
            heard += batch
            if texts(heard):
                break
    items = [event.item for event in heard if isinstance(event, RawItem)]
    assert [item["call_id"] for item in items] == ["a", "b"]
    assert any(isinstance(event, ResponseCompleted) for event in heard)
    turn.close()
    assert stage.heard("turn/interrupt") == []  # it waits for the results
    assert stage.generation.threads.give_up_kept("memory") == 1
    stage.await_unsubscribed()
    assert answered(stage) == []
    assert len(stage.heard("turn/interrupt")) == 1
    assert stage.generation.counters == {"server_request": 2}


def test_a_call_whose_response_never_becomes_whole_is_declined_in_the_end(make: Make) -> None:
    # codex tells that a response broke off only once its calls are answered.
    stage = make({"turn/start": [[STANDARD, raw_call("a"), tool_call("a")]]}, parked_s=0.05)
    stage.shake_hands()
    turn = stage.begin(WITH_TOOLS)
    eventually(lambda: answered(stage) == ["ask a"])
    assert stage.generation.counters["parked_call_given_up"] == 1
    turn.close()
    stage.await_unsubscribed()


@pytest.mark.parametrize(
    "thread", ["another thread", None, 5, [], {"id": "$thread"}], ids=["other", "null", *"nlo"]
)
def test_a_call_for_nobody_s_turn_is_declined(make: Make, thread: Any) -> None:
    stage = make({"turn/start": [[STANDARD, tool_call("a", thread)]]})
    stage.shake_hands()
    turn = stage.begin(WITH_TOOLS)
    eventually(lambda: answered(stage) == ["ask a"])
    turn.close()
    stage.await_unsubscribed()


def test_a_call_in_a_turn_without_tools_is_declined(make: Make) -> None:
    stage = make({"turn/start": [[STANDARD], [STANDARD, tool_call("a")]]})
    stage.shake_hands()
    turns = [stage.begin(WITH_TOOLS), stage.begin()]
    eventually(lambda: answered(stage) == ["ask a"])
    (said,) = [one for one in stage.heard() if "method" not in one]
    assert said["result"] == DECLINED["item/tool/call"]
    for turn in turns:
        turn.close()
    stage.await_unsubscribed(2)


def test_other_requests_are_declined_also_where_there_are_tools(make: Make) -> None:
    params = {"threadId": "$thread"}
    asked = [name for name in (*DECLINED, *REFUSED) if name != "item/tool/call"]
    asking = [{"ask": {"id": name, "method": name, "params": params}} for name in asked]
    stage = make({"turn/start": [[STANDARD, *asking]]})
    stage.shake_hands()
    turn = stage.begin(WITH_TOOLS)
    eventually(lambda: sorted(answered(stage)) == sorted(asked))
    turn.close()
    stage.await_unsubscribed()


@pytest.mark.parametrize(
    "sentence",
    ["dynamic tool name is reserved: sk-secret", "invalid Dynamic Tool", "duplicate dynamicTools"],
)
def test_a_refused_tool_is_the_caller_s_fault(make: Make, sentence: str) -> None:
    refusal = {"error": {"code": -32600, "message": sentence}}
    stage = make({"thread/start": [[refusal]]})
    stage.shake_hands()
    error = stage.begin_in_vain(WITH_TOOLS)
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.part) == (400, RequestPart.TOOLS)
    assert "sk-secret" not in error.message


# An upstream that codex waits for


def test_a_retry_fails_the_turn_and_interrupts_it(make: Make) -> None:
    failure = {"message": "http://secret.example", "codexErrorInfo": "other"}
    here = {"threadId": "$thread", "turnId": "$turn", "error": failure}
    last = {"emit": {"method": "error", "params": {**here, "willRetry": False}}}
    retry = {"emit": {"method": "error", "params": {**here, "willRetry": True}}}
    stage = make({"turn/start": [[STANDARD, last, delta("a"), retry, delta("a")]]})
    stage.shake_hands()
    turn = stage.begin()
    batches = turn.follow(PATIENT)
    heard: list[str] = []

    def read() -> None:
        for batch in batches:
            heard.extend(texts(batch))

    with deadline():
        error = outcome(read)
    assert isinstance(error, UpstreamError)
    assert "secret" not in error.message
    assert heard == ["a"]
    turn.close()
    stage.await_unsubscribed()
    assert len(stage.heard("turn/interrupt")) == 1
    assert stage.generation.counters == {"ignored_notification": 1}


def test_noise_in_a_turn_is_counted_and_changes_nothing(make: Make) -> None:
    def say(method: str, **params: Any) -> dict[str, Any]:
        return {"emit": {"method": method, "params": params}}

    here = {"threadId": "$thread", "turnId": "$turn"}
    noise = [
        {"line": "thread 'main' panicked\n"},
        say("a/notification/of/tomorrow"),
        say("item/agentMessage/delta", **here),
        say("item/agentMessage/delta", **here, itemId=1, delta="x"),
        say("thread/tokenUsage/updated", **here, tokenUsage={"total": {"inputTokens": "1"}}),
        say("rawResponseItem/completed", **here, item="no object"),
        say("item/agentMessage/delta", threadId="another", turnId="t", itemId="i", delta="x"),
    ]
    stage = make({"turn/start": [[STANDARD, delta("a"), *noise, delta("b"), completed()]]})
    stage.shake_hands()
    turn = stage.begin()
    assert texts(follow(turn)) == ["a", "b"]
    assert stage.generation.counters == {
        "ignored_notification": 1,
        "protocol_error": 4,
        "orphan_event": 1,
    }
    assert stage.generation.channel.counters == {"malformed": 1}
    turn.close()
    stage.await_unsubscribed()


# Ends


def state_of_thread(status: str) -> dict[str, Any]:
    return {"result": {"thread": {"status": {"type": status}}}}


def test_closing_a_running_turn_interrupts_it_then_gives_the_thread_back(make: Make) -> None:
    stage = make()
    stage.shake_hands()
    turn = stage.begin()
    turn.close()
    assert stage.given_back == 0  # it still runs in the child
    stage.await_unsubscribed()
    assert stage.given_back == 1
    assert turn.ended.is_set()
    methods = [message["method"] for message in stage.heard()]
    assert methods[-2:] == ["turn/interrupt", "thread/unsubscribe"]


def test_an_interrupt_is_repeated_until_the_turn_is_over(make: Make) -> None:
    refused = [NOTHING_TO_INTERRUPT]
    stage = make({"turn/interrupt": [refused, refused, refused, [STANDARD]]})
    stage.shake_hands()
    stage.begin().close()
    stage.await_unsubscribed()
    assert len(stage.heard("turn/interrupt")) == 4
    assert stage.generation.counters == {"interrupt_refused": 3}
    assert stage.given_back == 1


def test_a_turn_that_ends_while_its_interrupt_is_refused_is_over(make: Make) -> None:
    stage = make({"turn/interrupt": [[NOTHING_TO_INTERRUPT, completed()]]})
    stage.shake_hands()
    stage.begin().close()
    stage.await_unsubscribed()
    assert len(stage.heard("turn/interrupt")) == 1


@pytest.mark.parametrize(
    ("status", "counters"), [("active", {"interrupt_failed": 1}), ("idle", {})]
)
def test_an_accepted_interrupt_is_not_repeated_and_the_thread_given_back_all_the_same(
    make: Make, status: str, counters: dict[str, int]
) -> None:
    on = {"turn/interrupt": [[{"result": {}}]], "thread/read": [[state_of_thread(status)]]}
    stage = make(on, rpc_timeout_s=1.0)
    stage.shake_hands()
    stage.begin().close()
    stage.await_unsubscribed()
    assert len(stage.heard("turn/interrupt")) == 1
    assert stage.generation.counters == counters
    assert stage.given_back == 1


@pytest.mark.parametrize(
    ("replies", "tries"),
    [([[], [STANDARD]], 2), ([[completed()]], 1)],
    ids=["it is repeated", "the end overtook it"],
)
def test_an_interrupt_without_an_answer_has_not_failed(
    make: Make, replies: list[list[dict[str, Any]]], tries: int
) -> None:
    stage = make({"turn/interrupt": replies}, rpc_timeout_s=1.0)
    stage.shake_hands()
    stage.begin().close()
    stage.await_unsubscribed()
    assert len(stage.heard("turn/interrupt")) == tries
    assert stage.generation.counters == {}


def test_a_turn_that_we_end_is_interrupted_when_it_is_closed(make: Make) -> None:
    stage = make({"turn/start": [[STANDARD, delta("a")]]})
    stage.shake_hands()
    turn = stage.begin()
    stage.generation.fail_turns(Draining("soon"))
    assert isinstance(outcome(follow, turn), Draining)
    turn.close()
    stage.await_unsubscribed()
    assert len(stage.heard("turn/interrupt")) == 1


def test_a_turn_whose_start_was_never_answered_is_interrupted_by_what_it_said(make: Make) -> None:
    stage = make({"turn/start": [[delta("a")]]}, rpc_timeout_s=1.0)
    stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), WorkerUnavailable)
    stage.await_unsubscribed()
    assert stage.heard("turn/interrupt") == [{"threadId": "thread-1", "turnId": "turn-of-thread-1"}]


def late(call: int, **result: Any) -> list[dict[str, Any]]:
    """Answer an earlier call on the occasion of a later one."""
    line = json.dumps({"id": call, "result": result}) + "\n"
    return [{"line": line}, {"standard": True}]


def test_a_thread_that_begins_too_late_is_unloaded(make: Make) -> None:
    answer = late(4, thread={"id": "thread-1"})
    stage = make({"thread/start": [[]], "thread/loaded/list": [answer]}, rpc_timeout_s=1.0)
    generation = stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), WorkerUnavailable)
    generation.channel.call("thread/loaded/list", {}, DEADLINE_S)
    stage.await_unsubscribed()
    assert stage.heard("thread/unsubscribe") == [{"threadId": "thread-1"}]


def test_a_turn_that_begins_too_late_is_interrupted(make: Make) -> None:
    answer = late(6, turn={"id": "turn-of-thread-1"})
    stage = make({"turn/start": [[]], "thread/loaded/list": [answer]}, rpc_timeout_s=1.0)
    generation = stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), WorkerUnavailable)
    stage.await_unsubscribed()
    generation.channel.call("thread/loaded/list", {}, DEADLINE_S)
    (interrupted,) = stage.await_heard("turn/interrupt")
    assert interrupted == {"threadId": "thread-1", "turnId": "turn-of-thread-1"}
    stage.await_unsubscribed(2)


@pytest.mark.parametrize(
    "last", [[STANDARD], [NOTHING_TO_INTERRUPT, completed()]], ids=["accepted", "over by itself"]
)
def test_a_turn_that_begins_too_late_is_interrupted_until_it_is_over(
    make: Make, last: list[dict[str, Any]]
) -> None:
    answer = late(6, turn={"id": "turn-of-thread-1"})
    stage = make(
        {
            "turn/start": [[]],
            "thread/loaded/list": [answer],
            "turn/interrupt": [*[[NOTHING_TO_INTERRUPT]] * 7, last],
        },
        rpc_timeout_s=1.0,
    )
    generation = stage.shake_hands()
    assert isinstance(stage.begin_in_vain(), WorkerUnavailable)
    stage.await_unsubscribed()
    generation.channel.call("thread/loaded/list", {}, DEADLINE_S)
    stage.await_unsubscribed(2)
    assert len(stage.heard("turn/interrupt")) == 8
    assert "orphan_event" not in generation.counters


def test_a_refused_unsubscription_is_counted_and_gives_back(make: Make) -> None:
    stage = make({"thread/unsubscribe": [[{"error": {"code": -32600, "message": "no"}}]]})
    stage.shake_hands()
    stage.begin().close()
    stage.await_unsubscribed()
    assert stage.generation.counters == {"end_turn_failed": 1}
    assert stage.given_back == 1


@pytest.mark.parametrize("ending", ["exit", "kill", "hang up"])
def test_a_child_that_goes_away_fails_its_turns_after_what_it_said(make: Make, ending: str) -> None:
    going: dict[str, list[dict[str, object]]] = {
        "exit": [{"exit": 0}],
        "hang up": [{"close_stdout": True}],
        "kill": [],
    }
    stage = make({"turn/start": [[STANDARD], [STANDARD, delta("a"), *going[ending]]]})
    stage.shake_hands()
    first = stage.begin()
    second = stage.begin()
    batches = second.follow(PATIENT)
    with deadline():
        assert texts(next(batches)) == ["a"]
    waiting = in_background(follow, first)
    if ending == "kill":
        stage.child.kill()
    for error in (result(waiting), outcome(next, batches)):
        assert isinstance(error, WorkerLost)
        assert isinstance(error, WorkerUnavailable)
    assert stage.lost == [stage.generation]
    assert first.ended.is_set()
    for turn in (first, second):
        turn.close()
    eventually(lambda: len(stage.generation.threads) == 0)
    assert stage.given_back >= 2
    assert isinstance(stage.begin_in_vain(), WorkerLost)


def test_detaching_fails_the_turns_and_leaves_nothing(make: Make) -> None:
    stage = make()
    stage.shake_hands()
    turn = stage.begin()
    assert stage.child.stop(LADDER) == 0
    with deadline():
        stage.generation.detach()
    assert isinstance(outcome(follow, turn), WorkerLost)
    turn.close()
    eventually(lambda: len(stage.generation.threads) == 0)
    assert stage.lost == [stage.generation]


def test_the_exit_code_of_the_scenario_is_the_childs(make: Make) -> None:
    stage = make()
    stage.shake_hands()
    stage.child.kill()
    assert stage.child.wait(DEADLINE_S) == -signal.SIGKILL


def test_an_interrupt_that_is_never_answered_still_unsubscribes(make: Make) -> None:
    stage = make({"turn/interrupt": [[]]}, rpc_timeout_s=1.0)
    stage.shake_hands()
    stage.begin().close()
    stage.await_unsubscribed()
    assert len(stage.heard("turn/interrupt")) == 3
    assert stage.generation.counters == {"interrupt_failed": 1}
    assert stage.given_back == 1


def test_an_end_that_makes_no_sense_is_an_end(make: Make) -> None:
    stage = make({"turn/start": [[STANDARD, delta("a"), completed("of another kind")]]})
    stage.shake_hands()
    turn = stage.begin()
    assert isinstance(outcome(follow, turn), UpstreamError)
    turn.close()
