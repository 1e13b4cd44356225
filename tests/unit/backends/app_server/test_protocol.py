from collections.abc import Callable
from typing import Any

import pytest

from app.backend.request import Model, TurnRequest
from app.backends.app_server.parse_events import PARSERS, ProtocolError, ThreadId, TurnId
from app.backends.app_server.protocol import (
    UNUSED_NOTIFICATIONS,
    initialize_params,
    inject_items_params,
    interrupt_params,
    is_active,
    model_list_params,
    parse_models,
    parse_thread_id,
    parse_turn_id,
    parse_user_agent,
    thread_start_params,
    turn_start_params,
    unsubscribe_params,
)

THREAD, TURN = ThreadId("thr"), TurnId("trn")
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
REQUEST = TurnRequest("gpt", (ITEM, ITEM))
TOOL = {"type": "function", "name": "f", "description": "", "inputSchema": {"type": "object"}}
FULL = TurnRequest(
    "gpt",
    (ITEM,),
    effort="high",
    summary="auto",
    tools=(TOOL, TOOL),
    output_schema={"type": "object"},
    service_tier="flex",
    verbosity="low",
)
THREAD_START = {
    "model": "gpt",
    "ephemeral": True,
    "sandbox": "read-only",
    "approvalPolicy": "never",
    "environments": [],
    "baseInstructions": "",
    "developerInstructions": "",
    "experimentalRawEvents": True,
}
ENTRY = {
    "id": "preset",
    "model": "gpt",
    "supportedReasoningEfforts": [
        {"reasoningEffort": "low", "description": ""},
        {"reasoningEffort": "high", "description": ""},
    ],
    "defaultReasoningEffort": "low",
}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            initialize_params("1.2.3"),
            {
                "clientInfo": {
                    "name": "codex_completions_api",
                    "title": "codex_completions_api",
                    "version": "1.2.3",
                },
                "capabilities": {
                    "experimentalApi": True,
                    "requestAttestation": False,
                    "optOutNotificationMethods": list(UNUSED_NOTIFICATIONS),
                },
            },
        ),
        (
            thread_start_params(FULL),
            {
                **THREAD_START,
                "dynamicTools": [TOOL, TOOL],
                "config": {"model_verbosity": "low"},
            },
        ),
        (thread_start_params(REQUEST), THREAD_START),
        (
            thread_start_params(REQUEST, over_websocket=True),
            {**THREAD_START, "modelProvider": "gateway_websocket"},
        ),
        (inject_items_params(THREAD, REQUEST.items), {"threadId": "thr", "items": [ITEM, ITEM]}),
        (
            turn_start_params(THREAD, REQUEST),
            {"threadId": "thr", "input": [], "model": REQUEST.model},
        ),
        (
            turn_start_params(THREAD, TurnRequest("gpt", (), effort="high")),
            {"threadId": "thr", "input": [], "model": "gpt", "effort": "high"},
        ),
        (
            turn_start_params(THREAD, FULL),
            {
                "threadId": "thr",
                "input": [],
                "model": FULL.model,
                "effort": "high",
                "summary": "auto",
                "outputSchema": {"type": "object"},
                "serviceTier": "flex",
            },
        ),
        (interrupt_params(THREAD, TURN), {"threadId": "thr", "turnId": "trn"}),
        (unsubscribe_params(THREAD), {"threadId": "thr"}),
        (model_list_params(None), {}),
        (model_list_params("2"), {"cursor": "2"}),
    ],
)
def test_what_we_ask_is_exactly_this(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert params == expected


def test_one_more_item_is_one_more_question_and_the_first_stays_as_it_was() -> None:
    more = {"type": "message", "role": "developer", "content": []}
    again = FULL.corrected(more)
    assert again.items == (ITEM, more)
    assert FULL.items == (ITEM,)
    assert turn_start_params(THREAD, again) == turn_start_params(THREAD, FULL)
    assert thread_start_params(again) == thread_start_params(FULL)


@pytest.mark.parametrize("used", PARSERS)
def test_what_we_live_by_is_not_opted_out_of(used: str) -> None:
    assert used not in UNUSED_NOTIFICATIONS


def test_no_notification_is_opted_out_of_twice() -> None:
    assert len(set(UNUSED_NOTIFICATIONS)) == len(UNUSED_NOTIFICATIONS)


@pytest.mark.parametrize(
    ("parse", "result", "expected"),
    [
        (parse_user_agent, {"userAgent": "probe/0.163.0"}, "probe/0.163.0"),
        (parse_thread_id, {"thread": {"id": "thr", "more": 1}}, "thr"),
        (parse_turn_id, {"turn": {"id": "trn"}}, "trn"),
        (is_active, {"thread": {"status": {"type": "active", "activeFlags": []}}}, True),
        *((is_active, {"thread": {"status": {"type": kind}}}, False) for kind in ("idle", "new")),
        (parse_models, {"data": []}, ([], None)),
        (parse_models, {"data": [], "nextCursor": None}, ([], None)),
        (parse_models, {"data": [], "nextCursor": 2}, ([], None)),
        (
            parse_models,
            {"data": [ENTRY, {**ENTRY, "supportedReasoningEfforts": []}], "nextCursor": "2"},
            ([Model("gpt", ("low", "high"), "low"), Model("gpt", (), "low")], "2"),
        ),
        (
            parse_models,
            {"data": [{**ENTRY, "defaultReasoningEffort": "none"}]},
            ([Model("gpt", ("low", "high"), None)], None),
        ),
    ],
)
def test_a_result_is_read(parse: Callable[[Any], Any], result: Any, expected: Any) -> None:
    assert parse(result) == expected


NOT_RESULTS: list[Any] = [None, [], "text", 5, {}]
WRONG: list[tuple[Callable[[Any], Any], Any, str]] = [
    *((parse_user_agent, result, "userAgent") for result in NOT_RESULTS),
    (parse_user_agent, {"userAgent": None}, "userAgent"),
    *((parse_thread_id, result, "thread") for result in NOT_RESULTS),
    *((parse_thread_id, {"thread": thread}, "id") for thread in ({}, {"id": 5})),
    *((parse_turn_id, result, "turn") for result in NOT_RESULTS),
    *((parse_turn_id, {"turn": turn}, "id") for turn in ({}, {"id": None})),
    *((is_active, result, "thread") for result in NOT_RESULTS),
    (is_active, {"thread": {}}, "status"),
    (is_active, {"thread": {"status": {}}}, "type"),
    *((parse_models, result, "data") for result in [*NOT_RESULTS, {"data": {}}]),
    *(
        (parse_models, {"data": [entry]}, "supportedReasoningEfforts")
        for entry in (None, "gpt", {}, {**ENTRY, "supportedReasoningEfforts": "low"})
    ),
    *((parse_models, {"data": [{**ENTRY, "model": model}]}, "model") for model in (None, 5)),
    *(
        (
            parse_models,
            {"data": [{**ENTRY, "supportedReasoningEfforts": [effort]}]},
            "reasoningEffort",
        )
        for effort in ("low", {}, {"reasoningEffort": None})
    ),
    (parse_models, {"data": [{**ENTRY, "defaultReasoningEffort": None}]}, "defaultReasoningEffort"),
]


@pytest.mark.parametrize(("parse", "result", "field"), WRONG)
def test_a_result_of_another_shape_is_named(
    parse: Callable[[Any], Any], result: Any, field: str
) -> None:
    with pytest.raises(ProtocolError) as raised:
        parse(result)
    assert raised.value.field == field
