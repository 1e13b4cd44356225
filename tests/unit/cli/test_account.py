"""What codex says of its login, as we understand it."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli import account
from app.cli.account import API_KEY, CHATGPT, Account, Limit


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"account": None, "requiresOpenaiAuth": True}, None),
        ({"requiresOpenaiAuth": True}, None),
        ({"account": {"type": "apiKey"}}, Account(API_KEY)),
        (
            {"account": {"type": "chatgpt", "email": "ann@example.com", "planType": "pro"}},
            Account(CHATGPT, "ann@example.com", "pro"),
        ),
        (
            {"account": {"type": "chatgpt", "email": None, "planType": "plus"}},
            Account(CHATGPT, None, "plus"),
        ),
        ({"account": {"type": "amazonBedrock"}}, Account("amazonBedrock")),
        ({"account": "ann"}, None),
        ([], None),
        (None, None),
    ],
)
def test_account(result: Any, expected: Account | None) -> None:
    assert account.parse_account(result) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Account(API_KEY), "API key"),
        (Account(CHATGPT, "ann@example.com", "pro"), "ChatGPT, ann@example.com, plan pro"),
        (Account(CHATGPT), "ChatGPT"),
        (Account("new"), "new"),
    ],
)
def test_an_account_in_words(shown: Account, expected: str) -> None:
    assert str(shown) == expected


WINDOW = {"usedPercent": 12, "windowDurationMins": 300, "resetsAt": 1798761600}
FOUND = Limit("codex primary", 12, 300, "2027-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"rateLimits": {"primary": WINDOW, "secondary": None}}, [FOUND]),
        (
            {
                "rateLimits": {"primary": {"usedPercent": 99}},
                "rateLimitsByLimitId": {
                    "codex": {"primary": WINDOW},
                    "other": {"limitName": "Other", "secondary": {"usedPercent": 100}},
                },
            },
            [FOUND, Limit("Other secondary", 100, None, None)],
        ),
        (
            {"rateLimits": {"primary": {"usedPercent": 1, "resetsAt": 10**30}}},
            [Limit("codex primary", 1, None, None)],
        ),
        ({"rateLimits": {"primary": {"usedPercent": "12"}}}, []),
        ({"rateLimits": None}, []),
        ({}, []),
        (None, []),
    ],
)
def test_limits(result: Any, expected: list[Limit]) -> None:
    assert list(account.parse_limits(result)) == expected


@pytest.mark.parametrize(
    ("minutes", "span"),
    [(300, "5 h"), (60, "1 h"), (10080, "168 h"), (90, "1.5 h")],
)
def test_a_limit_in_words(minutes: int, span: str) -> None:
    assert str(Limit("codex primary", 12, minutes, "2027-01-01T00:00:00Z")) == (
        f"codex primary, window of {span}: 12 % used, starts again at 2027-01-01T00:00:00Z"
    )


def test_a_limit_of_which_little_is_known() -> None:
    assert str(Limit("codex primary", 12, None, None)) == "codex primary: 12 % used"
