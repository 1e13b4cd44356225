"""Compaction: a conversation becomes its caller's messages and a summary, and goes on from there."""

from __future__ import annotations

from typing import Any

import openai
import pytest
import requests

from app.api.compaction import ORDER, packed
from tests.e2e.harness import MODEL, Gateway, Upstream
from tests.e2e.responses_api import LOOK, REASONING, SAID, TOOL, answer, post, refusal

SUMMARY = "The user greeted \u00e9. Nothing is left to do."


def texts(body: Any) -> list[str]:
    return [
        part["text"]
        for item in body["input"]
        if item["type"] == "message"
        for part in item["content"]
    ]


def compact(gateway: Gateway, **body: Any) -> requests.Response:
    return requests.post(
        f"{gateway.url}/v1/responses/compact",
        json={"model": MODEL, **body},
        headers=gateway.headers,
        timeout=60,
    )


def test_the_sdk_compacts_and_goes_on(sdk: openai.OpenAI, upstream: Upstream) -> None:
    said = {"type": "message", "deltas": [SUMMARY[:9], SUMMARY[9:]]}
    marker = upstream.play([{"items": [REASONING, said]}, {"items": [SAID]}])
    given: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": f"hi {marker}"},
        {"role": "assistant", "content": "a long answer"},
        {"role": "user", "content": "and?"},
    ]
    compacted = sdk.responses.compact(model=MODEL, input=given, instructions="Rules.")
    assert compacted.object == "response.compaction"
    assert compacted.usage.output_tokens > 0
    *kept, item = compacted.output
    assert item.type == "compaction"
    assert [message.type for message in kept] == ["message"] * 3
    first, *_ = upstream.control.requests(marker)
    assert texts(first["body"])[-1] == ORDER
    assert "tools" not in first["body"] or not first["body"]["tools"]
    items: list[Any] = [one.to_dict(warnings=False) for one in compacted.output]
    sdk.responses.create(model=MODEL, input=[*items, {"role": "user", "content": "go on"}])
    *_, seen = upstream.control.requests(marker)
    *before, summary, last = texts(seen["body"])
    assert before[-3:] == ["Be brief.", f"hi {marker}", "and?"]
    assert summary.endswith(SUMMARY)
    assert last == "go on"
    assert "a long answer" not in str(seen["body"])


def test_what_is_kept_is_compacted_with_its_tools(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play([{"items": [REASONING, LOOK]}, {"items": [SAID]}, {"items": [SAID]}])
    first = answer(gateway, input=f"hi {marker}", tools=[TOOL])
    result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
    compacted = compact(
        gateway, previous_response_id=first["id"], input=[result], tools=[TOOL], store=True
    )
    assert compacted.status_code == 200, compacted.text
    whole = compacted.json()
    assert [item["type"] for item in whole["output"]] == ["message", "compaction"]
    assert set(whole["codex_metadata"]["ignored_parameters"]) == {"tools", "store"}
    found = requests.get(
        f"{gateway.url}/v1/responses/{whole['id']}", headers=gateway.headers, timeout=30
    )
    assert found.status_code == 404, "a compaction is no response, and nothing is kept of it"
    again = answer(gateway, input=[*whole["output"], {"role": "user", "content": "go on"}])
    more = answer(gateway, input="more", previous_response_id=again["id"])
    assert more["status"] == "completed"


def test_what_the_upstream_has_compacted_goes_back_to_it(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("a")
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "of-the-upstream"}
    answer(gateway, input=[item, {"role": "user", "content": f"hi {marker}"}])
    (seen,) = upstream.control.requests(marker)
    (sent,) = [one for one in seen["body"]["input"] if one["type"] == "compaction"]
    assert sent["encrypted_content"] == "of-the-upstream"


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "compaction"}, "missing_required_parameter", "input[0].encrypted_content"),
        (
            {"type": "compaction", "encrypted_content": packed("x")[:-8]},
            "invalid_value",
            "input[0].encrypted_content",
        ),
    ],
)
def test_a_damaged_one_is_refused(gateway: Gateway, item: Any, code: str, param: str) -> None:
    status, found, where, _ = refusal(gateway, input=[item, {"role": "user", "content": "x"}])
    assert (status, found, where) == (400, code, param)


def test_a_model_that_writes_no_summary_is_told_of(gateway: Gateway, upstream: Upstream) -> None:
    cut = {"items": [SAID], "status": "max_output_tokens"}
    refused = compact(gateway, input=f"hi {upstream.play(cut)}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "UPSTREAM_ERROR")
    assert "no summary" in refused.json()["error"]["message"]
    assert compact(gateway).json()["error"]["param"] == "input"


def test_there_are_no_conversations(gateway: Gateway) -> None:
    refused = post(gateway, {"input": "x", "conversation": "conv_1"})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        400,
        "unsupported_parameter",
        "conversation",
    )
    assert "previous_response_id" in error["message"]
    with gateway.sdk() as sdk, pytest.raises(openai.NotFoundError) as raised:
        sdk.conversations.create()
    assert "previous_response_id" in raised.value.message
