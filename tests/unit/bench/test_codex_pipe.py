"""What a hand-written client hears of a turn: when a response is whole, and what was in it."""

from __future__ import annotations

from typing import Any

from bench.codex_pipe import Turn

USAGE = {"inputTokens": 7, "cachedInputTokens": 5}


def said(method: str, *, request_id: int | None = None, **params: Any) -> dict[str, Any]:
    message = {"method": method, "params": {"turnId": "turn-1", **params}}
    return message if request_id is None else {"id": request_id, **message}


def call(turn_id: str = "turn-1") -> dict[str, Any]:
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    return said("rawResponseItem/completed", item=item) | {
        "params": {"turnId": turn_id, "item": item}
    }


DELTA = said("item/agentMessage/delta", delta="hi")
ASKED = said("item/tool/call", request_id=0)
RESPONSE = said("rawResponse/completed", usage=USAGE)
ENDED = said("turn/completed", turn={"status": "completed"})


def heard(*messages: dict[str, Any]) -> Turn:
    turn = Turn()
    for message in messages:
        turn.hear(message)
    return turn


def test_a_response_without_a_call_is_whole_when_its_usage_is_known() -> None:
    turn = heard(DELTA, DELTA)
    assert not turn.answered.is_set()
    turn.hear(RESPONSE)
    assert turn.answered.is_set()
    assert (turn.texts, turn.call, turn.usage) == (["hi", "hi"], None, USAGE)
    assert 0 < turn.first <= turn.ended


def test_a_call_is_waited_for_whichever_of_its_messages_comes_last() -> None:
    for last in range(3):
        messages = [call(), ASKED, RESPONSE]
        messages.append(messages.pop(last))
        turn = heard(*messages[:2])
        assert not turn.answered.is_set()
        turn.hear(messages[2])
        assert turn.answered.is_set()
        assert turn.request_id == 0


def test_calls_of_the_history_are_not_the_models() -> None:
    assert heard(call("auto-compact-0")).call is None


def test_the_next_response_begins_with_nothing() -> None:
    turn = heard(DELTA, call(), ASKED, RESPONSE)
    turn.next_response()
    assert (turn.texts, turn.call, turn.request_id, turn.usage) == ([], None, None, {})
    assert not turn.answered.is_set()
    turn.hear(RESPONSE)
    assert turn.answered.is_set()


def test_the_end_of_a_turn_ends_its_response_too() -> None:
    turn = heard(said("turn/completed", turn={"status": "failed"}))
    assert turn.answered.is_set()
    assert turn.over.is_set()
    assert turn.status == "failed"


def test_a_response_ended_before_its_turn() -> None:
    turn = heard(DELTA, RESPONSE)
    ended = turn.ended
    turn.hear(ENDED)
    assert turn.ended == ended
