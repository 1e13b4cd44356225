"""The gateway's child over a WebSocket to the upstream."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.harness import Gateway, Upstream, ask


def test_an_answer_that_came_over_a_websocket_is_the_same(
    upstream: Upstream, lend_gateway: Callable[..., Gateway]
) -> None:
    gateway = lend_gateway(CODEX_UPSTREAM_WEBSOCKETS="true")
    marker = upstream.say("Grü", "ße ✓")
    for _ in range(2):
        answer = gateway.post(ask(marker)).json()
        assert answer["choices"][0]["message"]["content"] == "Grüße ✓"
    records = upstream.control.requests(marker)
    assert [record["method"] for record in records] == ["GET", "GET"]
    assert all(record["outcome"] == "completed" for record in records)
    assert [item["role"] for item in records[0]["body"]["input"]] == ["user"]
