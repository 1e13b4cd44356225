"""What is counted, when; a table of requests against the samples that they leave."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.backend.account import AccountLimits, AccountWindow
from app.backend.health import Health
from app.backend.observer import TurnState
from app.backend.request import Model
from app.observability.gauges import Gauges
from app.observability.metrics import Metrics
from app.observability.requests import RequestRecord


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def finish(metrics: Metrics, *, streams: bool = False, **known: Any) -> RequestRecord:
    usual: dict[str, Any] = {"method": "POST", "route": "/v1/x", "status": 200}
    record = RequestRecord(request_id="r", listeners=[metrics], **(usual | known))
    if streams:
        record.begin_stream()
    record.write()
    return record


SHARED = {"backend": "app_server"}
KNOWN = (Model("m", ("low",), "low"), Model("n", ("low",), "low"))

REQUESTS: list[tuple[dict[str, Any], str, Mapping[str, str], float | None]] = [
    (
        {},
        "codex_http_requests_total",
        {"route": "/v1/x", "method": "POST", "status": "200", "code": "none"},
        1,
    ),
    (
        {"method": "BREW", "status": 405, "error_code": "made up by an upstream"},
        "codex_http_requests_total",
        {"route": "/v1/x", "method": "other", "status": "405", "code": "other"},
        1,
    ),
    (
        {"model": "m", "prompt_tokens": 7},
        "codex_tokens_total",
        {"kind": "prompt", "model": "m"},
        7,
    ),
    (
        {"model": "m", "completion_tokens": 3, "reasoning_tokens": 2, "cached_tokens": 1},
        "codex_tokens_total",
        {"kind": "completion", "model": "m"},
        3,
    ),
    (
        {"model": "m", "reasoning_tokens": 2},
        "codex_tokens_total",
        {"kind": "reasoning", "model": "m"},
        2,
    ),
    ({"model": "m", "cached_tokens": 1}, "codex_tokens_total", {"kind": "cached", "model": "m"}, 1),
    (
        {"model": "m", "cache_write_tokens": 4},
        "codex_tokens_total",
        {"kind": "cache_write", "model": "m"},
        4,
    ),
    (
        {"model": "n", "requested_model": "m", "known_models": KNOWN, "prompt_tokens": 7},
        "codex_tokens_total",
        {"kind": "prompt", "model": "n"},
        7,
    ),
    (
        {
            "model": "n-2026-01-02",
            "requested_model": "m",
            "known_models": KNOWN,
            "prompt_tokens": 7,
        },
        "codex_tokens_total",
        {"kind": "prompt", "model": "n"},
        7,
    ),
    (
        {"model": "any", "requested_model": "m", "known_models": KNOWN, "prompt_tokens": 7},
        "codex_tokens_total",
        {"kind": "prompt", "model": "other"},
        7,
    ),
    ({"model": "m"}, "codex_tokens_total", {"kind": "prompt", "model": "m"}, None),
    (
        {"ignored_parameters": ("seed", "user")},
        "codex_ignored_parameters_total",
        {"name": "seed"},
        1,
    ),
    ({"error_code": "WORKER_BUSY"}, "codex_overflows_total", {"queue": "admission"}, 1),
    (
        {"error_code": "WORKER_BUSY", "full_queue": "streams"},
        "codex_overflows_total",
        {"queue": "streams"},
        1,
    ),
    (
        {"error_code": "WORKER_BUSY", "full_queue": "streams"},
        "codex_overflows_total",
        {"queue": "admission"},
        0,
    ),
    ({"error_code": "SLOW_READER"}, "codex_overflows_total", {"queue": "turn"}, 1),
    ({"error_code": "WORKER_TIMEOUT"}, "codex_overflows_total", {"queue": "turn"}, 0),
    ({"queue_ms": 12.0}, "codex_queue_wait_ms_sum", SHARED, 12),
    ({}, "codex_queue_wait_ms_count", SHARED, 0),
    ({"ttft_ms": 5}, "codex_stream_ttft_ms_count", SHARED, 0),
    ({"ttft_ms": 5, "streams": True}, "codex_stream_ttft_ms_sum", SHARED, 5),
    ({"streams": True}, "codex_stream_ttft_ms_count", SHARED, 0),
    ({"stream": True}, "codex_stream_duration_ms_count", {"outcome": "completed"}, 0),
    ({"streams": True}, "codex_stream_duration_ms_count", {"outcome": "completed"}, 1),
    (
        {"streams": True, "outcome": "client_left"},
        "codex_stream_duration_ms_count",
        {"outcome": "client_left"},
        1,
    ),
    ({"streams": True}, "codex_streams_active", {}, 0),
    ({}, "codex_streams_active", {}, 0),
]


@pytest.mark.parametrize(("known", "name", "labels", "expected"), REQUESTS)
def test_a_finished_request_leaves_its_samples(
    known: dict[str, Any], name: str, labels: Mapping[str, str], expected: float | None
) -> None:
    metrics = Metrics()
    finish(metrics, **known)
    assert value(metrics, name, **labels) == expected


def test_a_stream_is_active_from_its_beginning_to_its_end() -> None:
    metrics = Metrics()
    record = RequestRecord("r", "POST", listeners=[metrics])
    record.begin_stream()
    assert value(metrics, "codex_streams_active") == 1
    record.write()
    assert value(metrics, "codex_streams_active") == 0


def test_the_duration_of_a_stream_is_that_of_its_record() -> None:
    metrics = Metrics()
    record = finish(metrics, streams=True)
    measured = value(metrics, "codex_stream_duration_ms_sum", outcome="completed")
    assert measured == record.duration_ms


@pytest.mark.parametrize("state", ["completed", "failed", "interrupted", "abandoned"])
def test_a_turn_is_counted_by_its_end(state: str) -> None:
    metrics = Metrics()
    series = {"outcome": state} | SHARED
    assert value(metrics, "codex_turns_total", **series) == 0
    metrics.turn_ended(TurnState(state), 20.0)
    assert value(metrics, "codex_turns_total", **series) == 1
    assert value(metrics, "codex_worker_latency_ms_sum", **series) == 20


def test_turns_and_waits_are_those_of_the_worker_s_backend() -> None:
    metrics = Metrics("per_request")
    metrics.turn_ended(TurnState.COMPLETED, 20.0)
    finish(metrics, queue_ms=12.0, ttft_ms=5, streams=True)
    for name in ("codex_queue_wait_ms_count", "codex_stream_ttft_ms_count"):
        assert value(metrics, name, backend="per_request") == 1
        assert value(metrics, name, **SHARED) is None
    for name in ("codex_turns_total", "codex_worker_latency_ms_count"):
        assert value(metrics, name, outcome="completed", backend="per_request") == 1
        assert value(metrics, name, outcome="completed", **SHARED) is None


STATUS = Health(
    ready=True,
    degraded=False,
    reason=None,
    state="ready",
    generation=1,
    pid=os.getpid(),
    user_agent="",
    restarts=0,
    failures=0,
    backoff_ms=500,
    handshake_ms=81,
    last_exit=None,
    retiring=0,
    running=2,
    waiting=3,
    counters={"malformed": 2},
)


def changed(**members: Any) -> Health:
    return replace(STATUS, **members)


def test_gauges_are_what_the_live_objects_say_at_each_reading() -> None:
    metrics, status = Metrics(), STATUS
    gauges = Gauges(metrics, lambda: status, lambda: 4, lambda: True)
    gauges.read()
    expected = {
        "codex_worker_ready": 1,
        "codex_worker_backoff_ms": 500,
        "codex_worker_handshake_ms": 81,
        "codex_queue_depth": 3,
        "codex_maintenance_mode": 1,
        "codex_trace_buffer_entries": 4,
    }
    assert {name: value(metrics, name) for name in expected} == expected
    resident = value(metrics, "codex_worker_resident_bytes")
    assert resident is not None
    assert resident > 0
    status = changed(ready=False, waiting=0, handshake_ms=None, pid=None)
    gauges.read()
    assert value(metrics, "codex_worker_ready") == 0
    assert value(metrics, "codex_queue_depth") == 0
    assert value(metrics, "codex_worker_handshake_ms") == 0
    assert value(metrics, "codex_worker_resident_bytes") == 0


def test_the_accounts_windows_are_shown_once_they_are_known() -> None:
    metrics, account = Metrics(), AccountLimits()
    gauges = Gauges(metrics, lambda: STATUS, account=account)
    names = (
        "codex_account_limit_used_percent",
        "codex_account_limit_reset_timestamp_seconds",
    )

    def seen(window: str) -> list[float | None]:
        gauges.read()
        return [value(metrics, name, window=window) for name in names]

    assert seen("primary") == [None, None]
    future = 4_000_000_000
    account.update({"primary": AccountWindow(7, resets_at=future)})
    assert seen("primary") == [7, future]
    assert seen("secondary") == [None, None]
    account.update({"primary": AccountWindow(8, resets_at=1)})
    assert seen("primary") == [0, future]  # its time is up


def test_a_refusal_is_counted_by_key_and_limit() -> None:
    metrics = Metrics()
    metrics.know_keys(["default", "ann"])
    series = {"key": "ann", "limit": "key_rate"}
    assert value(metrics, "codex_key_refusals_total", **series) == 0
    finish(metrics, key_name="ann", limited_by="key_rate", error_code="rate_limit_exceeded")
    finish(metrics, key_name="ann", error_code="rate_limit_exceeded")  # the account's
    finish(metrics, key_name="ann")
    assert value(metrics, "codex_key_refusals_total", **series) == 1
    assert value(metrics, "codex_key_refusals_total", **(series | {"key": "default"})) == 0
    requests = {"route": "/v1/x", "method": "POST", "status": "200"}
    for code in ("KEY_RATE_LIMITED", "rate_limit_exceeded"):
        assert value(metrics, "codex_http_requests_total", **requests, code=code) == 1


def test_anomalies_are_counted_once_and_go_on_with_the_next_child() -> None:
    metrics = Metrics()
    child = iter(
        [
            changed(counters={"malformed": 2}),
            changed(counters={"malformed": 2}),
            changed(counters={"malformed": 5}),
            changed(generation=2, counters={}),
            changed(generation=2, counters={"malformed": 1}),
        ]
    )
    gauges = Gauges(metrics, lambda: next(child))
    counted = []
    for _ in range(5):
        gauges.read()
        counted.append(value(metrics, "codex_rpc_anomalies_total", kind="malformed"))
    assert counted == [2, 2, 5, 5, 6]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_format_is_the_one_that_the_scraper_prefers(
    accept: str | None, content_type: str
) -> None:
    content, given = Metrics().expose(accept)
    assert given.startswith(content_type)
    assert content.endswith("# EOF\n") is (content_type == "application/openmetrics-text")


def test_two_applications_in_one_process_do_not_share_metrics() -> None:
    first, second = Metrics(), Metrics()
    finish(first)
    labels = {"route": "/v1/x", "method": "POST", "status": "200", "code": "none"}
    assert value(second, "codex_http_requests_total", **labels) is None
