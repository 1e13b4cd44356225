"""What a caller is told of its windows, and of the account's."""

from __future__ import annotations

import pytest

from app.backend.account import AccountWindow
from app.http.rate_limit_headers import (
    Decision,
    WindowState,
    account_headers,
    format_duration,
    rate_headers,
    refusal,
)
from app.settings.values import Window

MINUTE, HOUR = Window(60, 60), Window(1000, 3600)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (0.9995, "1s"),
        (0.12, "120ms"),
        (0.999, "999ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (86.4, "1m26.4s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (3630.005, "1h0m30.005s"),
        (86_400, "24h0m0s"),
    ],
)
def test_a_duration_is_written_as_openai_writes_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def decision(*windows: WindowState, allowed: bool = True) -> Decision:
    return Decision(allowed, windows)


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        (decision(WindowState(MINUTE, 1, 60)), ("60", "59", "1m0s")),
        (decision(WindowState(MINUTE, 0, 0)), ("60", "60", "0s")),
        (
            decision(WindowState(MINUTE, 1, 60), WindowState(HOUR, 999, 3600)),
            ("1000", "1", "1h0m0s"),
        ),
        (decision(WindowState(MINUTE, 59, 60), WindowState(HOUR, 59, 9)), ("60", "1", "1m0s")),
        (
            decision(WindowState(MINUTE, 60, 30), WindowState(HOUR, 1000, 50), allowed=False),
            ("1000", "0", "50s"),
        ),
        (
            decision(WindowState(MINUTE, 60, 30), WindowState(HOUR, 999, 90), allowed=False),
            ("60", "0", "30s"),
        ),
        # Between the refusal and the look at the window, time has gone on.
        (decision(WindowState(MINUTE, 59, 30), allowed=False), ("60", "1", "30s")),
        (decision(WindowState(MINUTE, 60, -0.001), allowed=False), ("60", "0", "0s")),
    ],
)
def test_the_window_that_matters_is_shown(seen: Decision, shown: tuple[str, str, str]) -> None:
    names = ("limit", "remaining", "reset")
    assert rate_headers(seen) == {
        f"x-ratelimit-{name}-requests": value for name, value in zip(names, shown, strict=True)
    }


@pytest.mark.parametrize(
    ("state", "sentence", "retry_after_s"),
    [
        (
            WindowState(MINUTE, 60, 1.2),
            "on requests per minute: Limit 60, Used 60, Requested 1. Please try again in 1.2s. ",
            2,
        ),
        (
            WindowState(Window(5, 300), 5, 0.02),
            "on requests per 5 minutes: Limit 5, Used 5, Requested 1. Please try again in 20ms. ",
            1,
        ),
        (WindowState(Window(5, 7 * 86_400), 5, 86_400), "on requests per 7 days: Limit 5", 86_400),
        (WindowState(Window(5, 90), 5, 9), "on requests per 90 seconds: Limit 5", 9),
    ],
)
def test_a_refusal_says_whose_limit_it_is_and_how_long_to_wait(
    state: WindowState, sentence: str, retry_after_s: int
) -> None:
    error = refusal(decision(state, allowed=False), "team")
    assert f"your key 'team' at this gateway, {sentence}" in error.message
    assert error.message.endswith("(It is this gateway's own limit, not the account's.)")
    assert error.retry_after_s == retry_after_s
    assert (error.status, error.type, error.code, error.retryable) == (
        429,
        "requests",
        "rate_limit_exceeded",
        True,
    )


@pytest.mark.parametrize(
    ("windows", "headers"),
    [
        ({}, {}),
        ({"primary": AccountWindow(3)}, {"x-codex-primary-used-percent": "3"}),
        (
            {"secondary": AccountWindow(0, 10_080, 1_800_000_000)},
            {
                "x-codex-secondary-used-percent": "0",
                "x-codex-secondary-window-minutes": "10080",
                "x-codex-secondary-reset-at": "1800000000",
            },
        ),
    ],
)
def test_the_accounts_windows_have_the_names_of_the_upstream(
    windows: dict[str, AccountWindow], headers: dict[str, str]
) -> None:
    assert account_headers(windows) == headers
