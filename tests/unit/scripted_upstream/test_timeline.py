import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted_upstream.envelope import Stamp
from scripted_upstream.failures import FAILURES, HttpFailure
from scripted_upstream.prompt_cache import Charge
from scripted_upstream.script import Message, RawItem, Response, Usage, parse_script
from scripted_upstream.timeline import (
    MAX_SEND,
    Act,
    End,
    Head,
    Hold,
    Leave,
    Pause,
    Reply,
    Send,
    plan,
)

STAMP = Stamp("a" * 32, 1700000000)
REQUEST: dict[str, Any] = {"model": "m", "input": "hi", "reasoning": None}
HELLO = Message(("hel", "lo"))


def shape(acts: tuple[Act, ...]) -> list[str]:
    return [type(act).__name__ for act in acts]


def body(acts: tuple[Act, ...]) -> bytes:
    return b"".join(act.data for act in acts if isinstance(act, Send))


def events(acts: tuple[Act, ...]) -> list[dict[str, Any]]:
    lines = body(acts).decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def planned(**settings: Any) -> tuple[Act, ...]:
    return plan(Response(items=(HELLO,), **settings), REQUEST, STAMP)


def failing(failure: Any) -> tuple[Act, ...]:
    script = {"items": [{"type": "message", "deltas": ["hel", "lo"]}], "failure": failure}
    return plan(parse_script(script).responses[0], REQUEST, STAMP)


@pytest.mark.parametrize(
    ("settings", "acts"),
    [
        ({}, "Head Send Send Send End"),
        ({"delay_ms": 5}, "Pause Head Send Send Send End"),
        ({"hold_before_headers": True}, "Hold Head Send Send Send End"),
        ({"first_delta_ms": 5}, "Head Send Send Pause Send Send End"),
        ({"interval_ms": 5}, "Head Send Send Pause Send Send End"),
        ({"hold": "deltas"}, "Head Send Send Hold Send Send End"),
        ({"hold": "each"}, "Head Send Send Hold Send Hold Send Send End"),
        ({"hold": "end"}, "Head Send Send Hold Send End"),
        ({"hold_after": 1}, "Head Send Send Hold Send Send End"),
    ],
)
def test_settings_become_acts(settings: dict[str, Any], acts: str) -> None:
    assert shape(planned(**settings)) == acts.split()


def test_the_head_has_the_scripted_headers() -> None:
    assert planned(headers=(("x-a", "1"),))[0] == Head((("x-a", "1"),))


def test_pauses_stand_before_the_deltas_they_delay() -> None:
    acts = planned(first_delta_ms=7, interval_ms=3)
    assert [act.ms for act in acts if isinstance(act, Pause)] == [7, 3]
    sends = [act.data for act in acts if isinstance(act, Send)]
    assert [data.count(b"output_text.delta") // 2 for data in sends] == [0, 0, 1, 1, 0]


def test_holding_after_the_deltas_keeps_back_what_follows_them() -> None:
    acts = planned(hold="deltas")
    before = acts[: acts.index(Hold())]
    assert events(before)[-1]["delta"] == "lo"


def test_a_response_without_deltas_is_held_after_its_items() -> None:
    response = Response(items=(RawItem(b'{"type":"x"}'),), hold="deltas")
    acts = plan(response, REQUEST, STAMP)
    before = acts[: acts.index(Hold())]
    assert events(before)[-1]["type"] == "response.output_item.done"


def test_a_response_without_deltas_is_not_held_after_each() -> None:
    response = Response(items=(RawItem(b'{"type":"x"}'),), hold="each")
    assert Hold() not in plan(response, REQUEST, STAMP)


def test_writes_are_joined_but_not_above_the_limit() -> None:
    response = Response(items=(Message(("word " * 10,) * 2000),))
    sends = [act.data for act in plan(response, REQUEST, STAMP) if isinstance(act, Send)]
    joined = [len(data) for data in sends if data.count(b"event: ") > 1]
    assert max(joined) <= MAX_SEND
    assert min(joined[1:-1]) > MAX_SEND - 1000


def test_a_whole_stream_opens_and_closes_with_the_response() -> None:
    found = events(planned())
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    assert found[-1]["type"] == "response.completed"
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "hello"
    assert found[-1]["response"]["id"] == found[0]["response"]["id"] == "resp_" + "a" * 32
    assert [event["sequence_number"] for event in found] == list(range(len(found)))


def test_ids_are_new_in_every_call() -> None:
    response = Response(items=(HELLO,))
    first, second = (body(plan(response, REQUEST, Stamp(nonce, 0))) for nonce in ("n1", "n2"))
    assert first.replace(b"n1", b"n2") == second != first
    assert b"nonce" not in first


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(), (1, 0, 2, 0, 3)),
        (Usage(100, 40, 7, 5), (100, 40, 7, 5, 107)),
        (Usage(reasoning_tokens=3), (1, 0, 5, 3, 6)),
    ],
)
def test_usage_is_scripted_or_counted(usage: Usage, expected: tuple[int, ...]) -> None:
    reported = events(planned(usage=usage))[-1]["response"]["usage"]
    assert expected == (
        reported["input_tokens"],
        reported["input_tokens_details"]["cached_tokens"],
        reported["output_tokens"],
        reported["output_tokens_details"]["reasoning_tokens"],
        reported["total_tokens"],
    )


@pytest.mark.parametrize(
    ("usage", "expected"), [(Usage(), (2000, 1152)), (Usage(100, 40), (100, 40))]
)
def test_a_prompt_cache_counts_what_no_script_does(usage: Usage, expected: tuple[int, int]) -> None:
    stamp = Stamp("a" * 32, 0, Charge(2000, 1152))
    acts = plan(Response(items=(HELLO,), usage=usage), REQUEST, stamp)
    reported = events(acts)[-1]["response"]["usage"]
    cached = reported["input_tokens_details"]["cached_tokens"]
    assert (reported["input_tokens"], cached) == expected
    assert reported["total_tokens"] == expected[0] + reported["output_tokens"]


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_an_incomplete_response_names_its_reason(reason: str) -> None:
    last = events(planned(incomplete=reason))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["usage"]["output_tokens"] == 2


@pytest.mark.parametrize(
    ("name", "acts"),
    [
        ("hang_before_headers", [Leave("hang")]),
        ("endless_before_headers", [Leave("endless_head")]),
        ("reset_before_headers", [Leave("reset")]),
        ("eof_before_headers", [Leave("cut")]),
        ("hang_after_headers", [Head(), Leave("hang")]),
    ],
)
def test_a_failure_before_the_events(name: str, acts: list[Act]) -> None:
    assert list(failing(name)) == acts


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("hang_mid_stream", Leave("hang")),
        ("endless_mid_stream", Leave("endless_line")),
        ("reset_mid_stream", Leave("reset")),
        ("cut_mid_stream", Leave("cut")),
        ("eof_mid_stream", End()),
    ],
)
@pytest.mark.parametrize(("after", "deltas"), [(0, []), (1, ["hel"]), (2, ["hel", "lo"]), (9, 2)])
def test_a_failure_after_so_many_deltas(name: str, last: Act, after: int, deltas: Any) -> None:
    acts = failing({"name": name, "after_deltas": after})
    sent = [event["delta"] for event in events(acts) if "delta" in event]
    assert sent == deltas or len(sent) == deltas
    assert acts[-1] == last
    assert b"response.completed" not in body(acts)
    assert events(acts)[-1]["type"].endswith(".delta" if after else ".in_progress")


@pytest.mark.parametrize("name", [name for name in FAILURES if name.startswith("failed_")])
def test_a_failed_response_carries_its_error(name: str) -> None:
    acts = failing({"name": name, "after_deltas": 1})
    last = events(acts)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["code"] == name.removeprefix("failed_")
    assert acts[-1] == End()


def test_an_error_event_ends_the_stream() -> None:
    last = events(failing("error_event"))[-1]
    assert (last["type"], last["code"]) == ("error", "server_error")


def test_a_garbage_line_does_not_end_the_stream() -> None:
    sent = body(failing({"name": "garbage_line", "after_deltas": 1}))
    assert b'"delta":"hel"}\n\ndata: {this is not json\n\nevent: response.output_text.delta' in sent
    assert b"response.completed" in sent


@pytest.mark.parametrize(
    "name", [name for name, row in FAILURES.items() if isinstance(row, HttpFailure)]
)
def test_an_http_failure_is_a_reply_in_place_of_the_stream(name: str) -> None:
    (reply,) = failing(name)
    assert isinstance(reply, Reply)
    if name != "bad_gateway":
        assert "error" in json.loads(reply.body)


@given(st.integers(min_value=0), st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_splitting_changes_no_byte(seed: int, deltas: list[str]) -> None:
    items = (Message(tuple(deltas)),)
    whole = plan(Response(items=items), REQUEST, STAMP)
    split = plan(Response(items=items, split_seed=seed), REQUEST, STAMP)
    assert body(split) == body(whole)
    assert max(len(act.data) for act in split if isinstance(act, Send)) <= 7


def test_a_seed_always_splits_alike() -> None:
    assert planned(split_seed=3) == planned(split_seed=3) != planned(split_seed=4)
