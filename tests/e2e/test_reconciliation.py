"""Metrics, log and clients tell the same story, also when the worker changes in the middle of it."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any

import pytest

from tests.e2e.harness import Gateway, Upstream, wait_until
from tests.e2e.mix import Mix
from tests.e2e.scrape import Samples, scrape, total

REQUESTS = 500


def logged(gateway: Gateway) -> list[dict[str, Any]]:
    lines = gateway.events("request")
    return [line for line in lines if line["route"].startswith("/v1/") or line["status"] >= 404]


def by_status(lines: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    return Counter((line["route"], line["status"]) for line in lines if line["route"] != "/readyz")


def counted(samples: Samples) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for (name, labels), value in samples.items():
        series = dict(labels)
        if name == "codex_http_requests_total" and is_of_the_mix(series["route"]):
            found[series["route"], int(series["status"])] += int(value)
    return found


def is_of_the_mix(route: str) -> bool:
    return route.startswith("/v1/") or route == "unmatched"


@pytest.mark.timeout(180)
def test_the_records_agree_after_a_mix_with_a_reload_in_the_middle(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway(PROXY_SSE_KEEPALIVE_MS="50")
    (old,) = gateway.workers()
    mix = Mix(gateway, upstream)
    mix.run(
        REQUESTS,
        lambda: gateway.process.send_signal(signal.SIGHUP),
        lambda: wait_until(lambda: gateway.events("reload_done"), "the new worker serves"),
    )
    seen = mix.seen
    assert seen.statuses.total() == REQUESTS
    wait_until(lambda: by_status(logged(gateway)) == seen.statuses, "every line is written")
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    wait_until(lambda: total(scrape(gateway), "codex_streams_active") == 0, "no stream is open")
    lines, samples = logged(gateway), scrape(gateway)
    assert {line["worker_generation"] for line in lines} == {1, 2}
    assert counted(samples) == seen.statuses

    for kind in ("prompt", "completion"):
        from_log = sum(line.get(f"{kind}_tokens", 0) for line in lines)
        assert total(samples, "codex_tokens_total", kind=kind) == from_log == seen.tokens[kind]

    by_outcome = Counter(line["outcome"] for line in lines if "/event-stream" in kind_of(line))
    assert total(samples, "codex_stream_duration_ms_count") == seen.streams == by_outcome.total()
    assert set(by_outcome) == {"completed", "failed", "client_left"}
    for outcome, count in by_outcome.items():
        assert total(samples, "codex_stream_duration_ms_count", outcome=outcome) == count

    turns = total(samples, "codex_turns_total")
    assert turns == total(samples, "codex_worker_latency_ms_count", backend="app_server")
    asked = [line for line in lines if "backend" in line]
    assert {line["backend"] for line in asked} == {"app_server"}
    assert {line["route"] for line in asked} == {"/v1/chat/completions"}
    ignored = sum(len(line.get("ignored_parameters", ())) for line in lines)
    assert total(samples, "codex_ignored_parameters_total") == ignored > 0
    assert total(samples, "codex_queue_depth") == 0
    wait_until(lambda: gateway.get("/healthz").json()["child"]["running"] == 0, "slots are back")


def kind_of(line: dict[str, Any]) -> str:
    """Return the content type that an answer had: a stream that failed before its commit is no stream."""
    is_stream = line.get("stream") and line["status"] == 200
    return "text/event-stream" if is_stream else "application/json"


def test_a_long_stream_is_as_long_in_the_metrics_as_in_the_log(
    make_gateway: Any, upstream: Upstream
) -> None:
    gateway: Gateway = make_gateway()
    script = {"items": [{"type": "message", "deltas": ["a"] * 5}], "interval_ms": 100}
    marker = upstream.play(script)
    gateway.post({"model": "gpt-5.5", "stream": True, "messages": message(marker)})
    line = wait_until(
        lambda: [e for e in gateway.events("request") if e.get("stream")], "the line is written"
    )[0]
    samples = scrape(gateway)
    measured = total(samples, "codex_stream_duration_ms_sum")
    assert measured == pytest.approx(line["duration_ms"])
    assert measured > 300
    assert total(samples, "codex_worker_latency_ms_sum") > 300


def message(marker: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"[{marker}]"}]
