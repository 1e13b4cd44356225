"""The last hour: what a request leaves, by minute, and that it is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from app.observability.recent import MINUTES, Recent, Spread
from app.observability.requests import RequestRecord

START = 1_800_000_000.0
AT = "2027-01-15T08:00:00.000+00:00"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def end(recent: Recent, **known: Any) -> None:
    usual: dict[str, Any] = {"method": "POST", "route": "/v1/x", "request_id": "r", "status": 200}
    record = RequestRecord(**(usual | known))
    record.duration_ms = record.duration_ms or 100.0
    recent.request_ended(record)


NOTHING: dict[str, Any] = {
    "at": AT,
    "requests": 0,
    "errors": 0,
    "first_token_ms": {"p50": None, "p95": None},
    "duration_ms": {"p50": None, "p95": None},
    "input_tokens": 0,
    "cached_tokens": 0,
    "output_tokens": 0,
}
ANSWERED = {"p50": 107.6, "p95": 107.6}


@pytest.mark.parametrize(
    ("known", "left"),
    [
        ({}, {"requests": 1}),
        ({"route": "/healthz"}, {}),
        ({"route": "/internal/status", "error_code": "invalid_api_key"}, {"errors": 1}),
        ({"error_code": "UPSTREAM_ERROR", "model": "m"}, {"requests": 1, "errors": 1}),
        ({"model": "m"}, {"requests": 1, "duration_ms": ANSWERED}),
        (
            {"model": "m", "ttft_ms": 100},
            {"requests": 1, "duration_ms": ANSWERED, "first_token_ms": ANSWERED},
        ),
        (
            {"model": "m", "prompt_tokens": 7, "cached_tokens": 3, "completion_tokens": 2},
            {
                "requests": 1,
                "duration_ms": ANSWERED,
                "input_tokens": 7,
                "cached_tokens": 3,
                "output_tokens": 2,
            },
        ),
        ({"model": "m", "is_background": True}, {"duration_ms": ANSWERED}),
        ({"model": "m", "outcome": "client_left"}, {"requests": 1}),
        ({"model": "m", "is_background": True, "outcome": "cancelled"}, {}),
        # The request that began it ends in a moment, or with the stream that follows it: it is no answer of its own.
        ({"model": "m", "is_handed_over": True}, {"requests": 1}),
    ],
)
def test_what_a_request_leaves(known: dict[str, Any], left: dict[str, Any]) -> None:
    recent = Recent(Clock())
    end(recent, **known)
    assert recent.report()["minutes"] == [NOTHING | left]


def test_errors_are_told_by_code_with_the_last_of_each() -> None:
    clock = Clock()
    recent = Recent(clock)
    end(recent, error_code="WORKER_BUSY", request_id="one")
    clock.now += 61
    end(recent, error_code="WORKER_BUSY", request_id="two", route="/v1/y")
    end(recent, error_code="made up by an upstream", request_id="three")
    end(recent, error_code="rate_limit_exceeded", limited_by="key_rate", request_id="four")
    assert recent.report()["errors"] == [
        error("WORKER_BUSY", "load", 2, "/v1/y", "two"),
        error("other", "clients", 1, "/v1/x", "three"),
        error("KEY_RATE_LIMITED", "clients", 1, "/v1/x", "four"),
    ]


def error(code: str, fault: str, count: int, route: str, request_id: str) -> dict[str, Any]:
    return {
        "code": code,
        "fault": fault,
        "count": count,
        "last_at": "2027-01-15T08:01:01.000+00:00",
        "last_route": route,
        "last_request_id": request_id,
    }


def test_an_hour_is_kept_and_fifteen_minutes_are_told_together() -> None:
    clock = Clock()
    recent = Recent(clock)
    for minute in range(3 * MINUTES):
        clock.now = START + 60 * minute
        end(recent, model="m", ttft_ms=10, error_code="WORKER_BUSY" if minute == 0 else None)
    report = recent.report()
    assert len(report["minutes"]) == MINUTES
    assert report["first_token_ms"]["count"] == 15
    assert report["errors"] == []
    assert report["since"] == AT
    clock.now += 3600
    assert recent.report()["minutes"] == []


def test_a_clock_that_is_set_back_goes_on_in_its_minute() -> None:
    clock = Clock()
    recent = Recent(clock)
    end(recent)
    clock.now -= 600
    end(recent)
    assert [minute["requests"] for minute in recent.report()["minutes"]] == [2]


@pytest.mark.parametrize("duration_ms", [0, 0.4, 1, 9, 777, 60_000, 1e12])
def test_a_quantile_is_never_too_low_and_a_fifth_too_high_at_most(duration_ms: float) -> None:
    spread = Spread()
    spread.add(duration_ms)
    found = spread.quantile(0.5)
    assert found is not None
    bounded = min(max(duration_ms, 1), 1 << 22)
    assert bounded <= found + 0.05
    assert found <= bounded * 1.2


def test_quantiles_of_many() -> None:
    spread = Spread()
    assert spread.full() == {"count": 0, "p50": None, "p95": None, "p99": None, "buckets": []}
    for duration in [10] * 50 + [100] * 45 + [1000] * 5:
        spread.add(duration)
    assert [bucket["count"] for bucket in spread.full()["buckets"]] == [50, 45, 5]
    assert spread.brief() == {"p50": 11.3, "p95": 107.6}
    assert spread.quantile(0.99) == 1024.0
