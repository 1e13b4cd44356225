from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.backend.events import (
    MAX_TOKENS,
    Event,
    MessageBegan,
    ModelRerouted,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    Retrying,
    TextDelta,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.backends.app_server.parse_events import (
    MESSAGE_CHARS,
    PARSERS,
    Address,
    Addressed,
    ProtocolError,
    ThreadId,
    TurnId,
    is_echo,
    parse_address,
    parse_event,
    parse_failure,
)

ADDRESS = {"threadId": "thr", "turnId": "trn"}
COUNTS = {
    "totalTokens": 59,
    "inputTokens": 50,
    "cachedInputTokens": 40,
    "cacheWriteInputTokens": 1,
    "outputTokens": 9,
    "reasoningOutputTokens": 3,
}
USAGE = Usage(
    input=50, cached_input=40, output=9, reasoning_output=3, total=59, cache_write_input=1
)
CALL = {"type": "function_call", "name": "f", "arguments": '{"a": 1}', "call_id": "c"}


def turn(**members: Any) -> dict[str, Any]:
    return {"threadId": "thr", "turn": {"id": "trn", "items": [], **members}}


EVENTS: list[tuple[str, dict[str, Any], Event]] = [
    (
        "error",
        {
            **ADDRESS,
            "willRetry": True,
            "error": {
                "message": "m",
                "codexErrorInfo": {"responseStreamDisconnected": {"httpStatusCode": 502}},
                "additionalDetails": "Connection failed: error sending request",
            },
        },
        Retrying(
            TurnFailure(
                "m",
                "responseStreamDisconnected",
                502,
                details="Connection failed: error sending request",
            )
        ),
    ),
    (
        "item/agentMessage/delta",
        {**ADDRESS, "itemId": "itm", "delta": " lo\r\n"},
        TextDelta("itm", " lo\r\n"),
    ),
    ("item/agentMessage/delta", {**ADDRESS, "itemId": "itm", "delta": ""}, TextDelta("itm", "")),
    (
        "item/reasoning/summaryTextDelta",
        {**ADDRESS, "itemId": "itm", "summaryIndex": 0, "delta": "hm"},
        ReasoningDelta("hm", "itm/summaryIndex/0", "itm"),
    ),
    (
        "item/reasoning/textDelta",
        {**ADDRESS, "itemId": "itm", "contentIndex": 0, "delta": "hm"},
        ReasoningDelta("hm", "itm/contentIndex/0", "itm", is_summary=False),
    ),
    (
        "item/started",
        {**ADDRESS, "item": {"type": "agentMessage", "id": "itm", "phase": "commentary"}},
        MessageBegan("itm", "commentary"),
    ),
    (
        "item/started",
        {**ADDRESS, "item": {"type": "agentMessage", "id": "itm", "phase": None}},
        MessageBegan("itm"),
    ),
    (
        "thread/tokenUsage/updated",
        {**ADDRESS, "tokenUsage": {"total": COUNTS, "last": {}, "modelContextWindow": 9}},
        UsageUpdated(USAGE),
    ),
    ("rawResponse/completed", {**ADDRESS, "usage": COUNTS}, ResponseCompleted(USAGE)),
    (
        "rawResponse/completed",
        {**ADDRESS, "usage": {**COUNTS, "inputTokens": 50.5, "totalTokens": 1e300}},
        ResponseCompleted(replace(USAGE, total=MAX_TOKENS)),
    ),
    (  # an older version does not say what was newly cached
        "rawResponse/completed",
        {**ADDRESS, "usage": {k: v for k, v in COUNTS.items() if k != "cacheWriteInputTokens"}},
        ResponseCompleted(replace(USAGE, cache_write_input=0)),
    ),
    (
        "model/rerouted",
        {**ADDRESS, "fromModel": "a", "toModel": "b", "reason": "highRiskCyberActivity"},
        ModelRerouted("b"),
    ),
    ("rawResponse/completed", {**ADDRESS, "usage": None}, ResponseCompleted(None)),
    ("rawResponse/completed", ADDRESS, ResponseCompleted(None)),
    ("rawResponseItem/completed", {**ADDRESS, "item": CALL}, RawItem(CALL)),
    ("turn/completed", turn(status="completed"), TurnEnded(TurnStatus.COMPLETED)),
    ("turn/completed", turn(status="completed", error=None), TurnEnded(TurnStatus.COMPLETED)),
    ("turn/completed", turn(status="interrupted"), TurnEnded(TurnStatus.INTERRUPTED)),
    (
        "turn/completed",
        turn(status="failed", error={"message": "m", "codexErrorInfo": "serverOverloaded"}),
        TurnEnded(TurnStatus.FAILED, TurnFailure("m", "serverOverloaded")),
    ),
]


@pytest.mark.parametrize(("method", "params", "event"), EVENTS)
def test_a_notification_becomes_its_event_with_its_address(
    method: str, params: dict[str, Any], event: Event
) -> None:
    assert parse_event(method, params) == Addressed(ThreadId("thr"), TurnId("trn"), event)


def test_the_table_has_a_row_for_every_parser() -> None:
    assert {method for method, _, _ in EVENTS} == set(PARSERS)


@pytest.mark.parametrize(
    "method", ["", "turn/started", "item/agentMessage/Delta", "codex/brandNew"]
)
def test_a_method_that_we_do_not_use_is_no_error(method: str) -> None:
    assert parse_event(method, {}) is None


@pytest.mark.parametrize("will_retry", [{"willRetry": False}, {"willRetry": 1}, {}])
def test_an_error_that_is_not_retried_is_the_end_s_to_tell(will_retry: dict[str, Any]) -> None:
    assert parse_event("error", {**ADDRESS, **will_retry, "error": {"message": "m"}}) is None


def usage_without(name: str) -> dict[str, Any]:
    return {"total": {key: value for key, value in COUNTS.items() if key != name}}


TEXT = "item/agentMessage/delta"
RETRY = {"willRetry": True}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    *((method, {}, "threadId") for method in PARSERS),
    *((method, {"threadId": 5, "turnId": "trn"}, "threadId") for method in PARSERS),
    (TEXT, {"threadId": "thr", "itemId": "itm", "delta": "d"}, "turn"),
    (TEXT, {**ADDRESS, "delta": "d"}, "itemId"),
    (TEXT, {**ADDRESS, "itemId": "itm"}, "delta"),
    (TEXT, {**ADDRESS, "itemId": "itm", "delta": None}, "delta"),
    (TEXT, {**ADDRESS, "itemId": "itm", "delta": 1}, "delta"),
    ("item/reasoning/summaryTextDelta", ADDRESS, "delta"),
    ("item/reasoning/textDelta", {**ADDRESS, "delta": []}, "delta"),
    ("thread/tokenUsage/updated", ADDRESS, "tokenUsage"),
    ("thread/tokenUsage/updated", {**ADDRESS, "tokenUsage": []}, "tokenUsage"),
    ("thread/tokenUsage/updated", {**ADDRESS, "tokenUsage": {"last": COUNTS}}, "total"),
    *(
        ("thread/tokenUsage/updated", {**ADDRESS, "tokenUsage": usage_without(name)}, name)
        for name in COUNTS
        if name != "cacheWriteInputTokens"
    ),
    ("rawResponse/completed", {**ADDRESS, "usage": {**COUNTS, "inputTokens": "9"}}, "inputTokens"),
    (
        "rawResponse/completed",
        {**ADDRESS, "usage": {**COUNTS, "cacheWriteInputTokens": None}},
        "cacheWriteInputTokens",
    ),
    ("model/rerouted", {**ADDRESS, "toModel": None}, "toModel"),
    ("rawResponse/completed", {**ADDRESS, "usage": {**COUNTS, "totalTokens": True}}, "totalTokens"),
    ("error", {**ADDRESS, **RETRY}, "error"),
    ("error", {**ADDRESS, **RETRY, "error": "m"}, "error"),
    ("error", {"threadId": "thr", **RETRY, "error": {"message": "m"}}, "turn"),
    ("rawResponseItem/completed", ADDRESS, "item"),
    ("rawResponseItem/completed", {**ADDRESS, "item": "text"}, "item"),
    ("turn/completed", {"threadId": "thr"}, "turn"),
    ("turn/completed", {"threadId": "thr", "turn": "trn"}, "turn"),
    ("turn/completed", turn(), "turn.status"),
    ("turn/completed", turn(status="inProgress"), "turn.status"),
    ("turn/completed", turn(status="cancelled"), "turn.status"),
    ("turn/completed", turn(status=["completed"]), "turn.status"),
]


@pytest.mark.parametrize(("method", "params", "field"), WRONG)
def test_what_the_schema_does_not_allow_is_named(
    method: str, params: dict[str, Any], field: str
) -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_event(method, params)
    assert raised.value.field == field
    assert str(raised.value) == f"{method}: {field} is missing or has the wrong type"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"message": "m"}, TurnFailure("m")),
        ({"message": "m" * (MESSAGE_CHARS + 1)}, TurnFailure("m" * MESSAGE_CHARS)),
        ({}, TurnFailure("")),
        ({"message": 5}, TurnFailure("")),
        ({"message": "m", "codexErrorInfo": None}, TurnFailure("m")),
        ({"message": "m", "codexErrorInfo": "other"}, TurnFailure("m", "other")),
        ({"message": "m", "codexErrorInfo": "brandNew"}, TurnFailure("m", "brandNew")),
        ({"message": "m", "codexErrorInfo": {}}, TurnFailure("m")),
        ({"message": "m", "codexErrorInfo": []}, TurnFailure("m")),
        (
            {"message": "m", "codexErrorInfo": {"httpConnectionFailed": {"httpStatusCode": 502}}},
            TurnFailure("m", "httpConnectionFailed", 502),
        ),
        (
            {"message": "m", "codexErrorInfo": {"httpConnectionFailed": {"httpStatusCode": None}}},
            TurnFailure("m", "httpConnectionFailed"),
        ),
        (
            {"message": "m", "codexErrorInfo": {"httpConnectionFailed": {"httpStatusCode": "5"}}},
            TurnFailure("m", "httpConnectionFailed"),
        ),
        (
            {"message": "m", "codexErrorInfo": {"activeTurnNotSteerable": {"turnKind": "review"}}},
            TurnFailure("m", "activeTurnNotSteerable"),
        ),
        ({"message": "m", "codexErrorInfo": {"brandNew": 5}}, TurnFailure("m", "brandNew")),
        (
            {"message": "m", "additionalDetails": "http://secret.example", "codexErrorInfo": "x"},
            TurnFailure("m", "x"),
        ),
    ],
)
def test_a_failure_is_read_from_each_of_its_shapes(
    error: dict[str, Any], failure: TurnFailure
) -> None:
    assert parse_failure(error) == failure


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = [
    *("threadId", "turnId", "itemId", "delta", "tokenUsage", "usage", "item", "turn"),
    *("error", "willRetry"),
]


@settings(suppress_health_check=[HealthCheck.too_slow])  # other tests may run beside it
@given(st.sampled_from(sorted(PARSERS)), st.dictionaries(st.sampled_from(NAMES), JSON))
def test_params_of_any_shape_give_an_event_or_a_protocol_error(
    method: str, params: dict[str, Any]
) -> None:
    with suppress(ProtocolError):
        parsed = parse_event(method, params)
        assert isinstance(parsed, Addressed) or (
            parsed is None and method in {"error", "item/started"}
        )


@given(st.text())
def test_a_delta_is_kept_exactly_as_it_came(text: str) -> None:
    parsed = parse_event(TEXT, {**ADDRESS, "itemId": "itm", "delta": text})
    assert parsed is not None
    assert parsed.event == TextDelta("itm", text)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("turn/completed", {"threadId": "thr", "turn": {"status": "completed"}}),
        ("turn/completed", {"threadId": "thr", "turn": {"id": 5, "status": "completed"}}),
        ("item/agentMessage/delta", {"threadId": "thr", "turnId": 5, "itemId": "i", "delta": "d"}),
        (
            "rawResponse/completed",
            {
                "threadId": "thr",
                "turnId": "trn",
                "usage": dict.fromkeys(
                    [
                        "inputTokens",
                        "cachedInputTokens",
                        "outputTokens",
                        "reasoningOutputTokens",
                        "totalTokens",
                    ],
                    True,
                ),
            },
        ),
    ],
)
def test_a_turn_without_an_id_is_named(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        parse_event(method, params)


@pytest.mark.parametrize(
    ("head", "address"),
    [
        (
            b'{"method":"rawResponseItem/completed","params":{"threadId":"th","turnId":"tu","item":{"t',
            Address("rawResponseItem/completed", ThreadId("th"), TurnId("tu")),
        ),
        (
            b'{"method":"turn/completed","params":{"threadId":"th","turn":{"id":"tu","items":[',
            Address("turn/completed", ThreadId("th"), TurnId("tu")),
        ),
        (
            b'{"method":"error","params":{"error":{"message":"\\"threadId\\":\\"th\\",\\"turnId',
            None,
        ),
        (b'{"id":1,"result":{"threadId":"th","turnId":"tu"', None),
        (b"x" * 512, None),
        (b"", None),
    ],
)
def test_the_beginning_of_a_line_says_whose_it_is(head: bytes, address: Address | None) -> None:
    assert parse_address(head) == address


def raw_item(turn_id: str, text: str = "x") -> bytes:
    thread_id = "019a0000-0000-7000-8000-000000000000"
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    params = {"threadId": thread_id, "turnId": turn_id, "item": item}
    return orjson.dumps({"method": "rawResponseItem/completed", "params": params})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (raw_item("auto-compact-0"), True),
        (raw_item("auto-compact-17"), True),
        (raw_item("019a0000-0000-7000-8000-000000000001"), False),
        (raw_item("t", '"turnId":"auto-compact-0"'), False),
        (raw_item("t", "auto-compact-0"), False),
        (b'{"method":"item/agentMessage/delta","params":{"delta":"x"}}', False),
        (b"", False),
    ],
)
def test_an_echo_of_the_history_is_known_by_its_turn(line: bytes, expected: bool) -> None:
    assert is_echo(line) is expected
