"""What reaches the upstream: the caller's conversation, and nothing of codex's own."""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import MODEL, Gateway, Upstream

MESSAGE_MEMBERS = {"type", "role", "content", "id"}


def received(upstream: Upstream, marker: str) -> dict[str, Any]:
    (request,) = upstream.control.requests(marker)
    return dict(request["body"])


def spoken(body: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The conversation as the upstream got it: role and parts, with every item checked to be nothing else."""
    for item in body["input"]:
        assert set(item) <= MESSAGE_MEMBERS
        assert item["type"] == "message"
    return [
        (item["role"], [(part["type"], part["text"]) for part in item["content"]])
        for item in body["input"]
    ]


def test_a_plain_chat_is_exactly_the_callers_messages(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("x")
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are\nterse. \u200d\U0001f469\u200d\U0001f680"},
        {"role": "developer", "content": [{"type": "text", "text": "Use metric units."}]},
        {"role": "user", "content": "  leading and trailing  "},
        {"role": "assistant", "content": "Yes?"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": marker}],
        },
    ]
    assert gateway.post({"model": MODEL, "messages": messages}).status_code == 200
    body = received(upstream, marker)
    assert spoken(body) == [
        ("developer", [("input_text", messages[0]["content"])]),
        ("developer", [("input_text", "Use metric units.")]),
        ("user", [("input_text", "  leading and trailing  ")]),
        ("assistant", [("output_text", "Yes?")]),
        ("user", [("input_text", "a"), ("input_text", marker)]),
    ]
    assert body["tools"] == []
    assert body.get("instructions", "") == ""
    assert body["model"] == MODEL
    assert body["store"] is False
    assert "AGENTS" not in str(body)
    assert "environment_context" not in str(body)


def test_an_empty_text_is_an_empty_text(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("x")
    messages = [{"role": "user", "content": ""}, {"role": "user", "content": marker}]
    assert gateway.post({"model": MODEL, "messages": messages}).status_code == 200
    assert spoken(received(upstream, marker))[0] == ("user", [("input_text", "")])


def test_a_conversation_may_end_with_the_assistant(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say(" and on")
    messages = [{"role": "user", "content": marker}, {"role": "assistant", "content": "Once upon"}]
    answer = gateway.post({"model": MODEL, "messages": messages}).json()
    assert answer["choices"][0]["message"]["content"] == " and on"
    assert [role for role, _ in spoken(received(upstream, marker))] == ["user", "assistant"]


def test_a_history_of_two_megabytes_arrives_whole_in_one_call(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("x")
    texts = [f"{index}: " + "lorem ipsum é " * 1000 for index in range(150)]
    messages = [
        {"role": ("user", "assistant")[index % 2], "content": text}
        for index, text in enumerate(texts)
    ]
    messages.append({"role": "user", "content": marker})
    assert sum(len(text.encode()) for text in texts) > 2_000_000
    assert gateway.post({"model": MODEL, "messages": messages}).status_code == 200
    parts = [parts for _, parts in spoken(received(upstream, marker))]
    assert [text for ((_, text),) in parts] == [*texts, marker]
