"""What is known of the account's windows, and when a spent quota starts again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from app.backend.account import AccountLimits, AccountWindow
from app.backend.events import Reset, TurnEnded, TurnFailure, TurnStatus
from app.codex.account import parse_windows, with_reset

NOW = 1_800_000_000


def update(limit_id: str | None = "codex", **windows: Any) -> dict[str, Any]:
    empty = {"limitId": limit_id, "limitName": None, "primary": None, "secondary": None}
    return {"rateLimits": empty | windows}


def window(used: Any, minutes: Any = 300, resets: Any = NOW + 60) -> dict[str, Any]:
    return {"usedPercent": used, "windowDurationMins": minutes, "resetsAt": resets}


def heard(*updates: object) -> AccountLimits:
    limits = AccountLimits()
    for one in updates:
        limits.update(parse_windows(one))
    return limits


P, S = AccountWindow(5, 300, NOW + 60), AccountWindow(9, 300, NOW + 60)


@pytest.mark.parametrize(
    ("updates", "windows"),
    [
        ([], {}),
        ([update(primary=window(5), secondary=window(9))], {"primary": P, "secondary": S}),
        ([update(None, primary=window(5))], {"primary": P}),
        # Sparse: what is left out has not changed.
        ([update(primary=window(5)), update(secondary=window(9))], {"primary": P, "secondary": S}),
        ([update(primary=window(5)), update()], {"primary": P}),
        ([update(primary=window(4)), update(primary=window(5))], {"primary": P}),
        # The limit of one model is not the account's.
        ([update("codex_other", primary=window(5))], {}),
        ([update(primary=window(5, None, None))], {"primary": AccountWindow(5)}),
        # What no schema allows.
        ([update(primary=window("5"))], {}),
        ([update(primary=window(True))], {}),
        ([update(primary={})], {}),
        ([update(primary=[5])], {}),
        ([update(primary=window(5, "300", "soon"))], {"primary": AccountWindow(5)}),
        ([update(primary=window(5, 300, 10**18))], {"primary": AccountWindow(5, 300)}),
        ([update(primary=window(5, 300, -1))], {"primary": AccountWindow(5, 300)}),
        ([{}, {"rateLimits": None}, {"rateLimits": []}, None, [], "x"], {}),
    ],
)
def test_what_is_known(updates: list[object], windows: dict[str, AccountWindow]) -> None:
    assert heard(*updates).windows(NOW) == windows


def test_a_window_whose_time_is_up_is_empty() -> None:
    limits = heard(update(primary=window(100)))
    assert limits.windows(NOW + 59)["primary"].used_percent == 100
    assert limits.windows(NOW + 60)["primary"] == AccountWindow(0, 300)
    assert limits.report(NOW)["primary"] == {
        "used_percent": 100,
        "window_minutes": 300,
        "resets_at": NOW + 60,
    }


def ended(sentence: str = "", kind: str = "usageLimitExceeded") -> TurnEnded:
    return TurnEnded(TurnStatus.FAILED, TurnFailure(sentence, kind))


def reset(limits: AccountLimits, event: TurnEnded) -> Reset | None:
    explained = with_reset(event, limits, NOW)
    assert explained.failure is not None
    return explained.failure.reset


FULL = update(primary=window(100))


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        ([], None),
        ([update(primary=window(99))], None),
        ([FULL], Reset(NOW + 60, 60)),
        ([update(primary=window(100, resets=NOW + 60.0))], None),
        ([update(primary=window(100, resets=NOW))], None),
        ([FULL, update(secondary=window(50, resets=NOW + 999))], Reset(NOW + 60, 60)),
        ([FULL, update(secondary=window(100, resets=NOW + 999))], Reset(NOW + 999, 999)),
    ],
)
def test_a_spent_quota_starts_again_with_the_last_full_window(
    updates: list[object], expected: Reset | None
) -> None:
    assert reset(heard(*updates), ended()) == expected


@pytest.mark.parametrize(
    "event",
    [
        ended("try again at 3:04 PM", kind="rateLimitExceeded"),
        TurnEnded(TurnStatus.COMPLETED),
    ],
)
def test_other_ends_stay_what_they_are(event: TurnEnded) -> None:
    assert with_reset(event, heard(FULL), NOW) is event


# Local time, as codex writes it.
TODAY = datetime.fromtimestamp(NOW)  # noqa: DTZ006


def local(month: int, day: int, hour: int, minute: int, year: int = 2027) -> int:
    return int(datetime(year, month, day, hour, minute).timestamp())  # noqa: DTZ001


@pytest.mark.parametrize(
    ("sentence", "at"),
    [
        ("You hit it. Try later or try again at Mar 1st, 2027 3:04 PM.", local(3, 1, 15, 5)),
        ("try again at Dec 31st, 2027 11:59 PM.", local(1, 1, 0, 0, 2028)),
        ("try again at Feb 2nd, 2027 12:00 AM.", local(2, 2, 0, 1)),
        ("try again at 11:59 PM.", local(TODAY.month, TODAY.day + 1, 0, 0)),
        ("try again at Mar 1st, 2020 3:04 PM.", None),  # long ago
        ("try again at 13:04 PM.", None),
        ("try again at Foo 1st, 2027 3:04 PM.", None),
        ("try again at Feb 31st, 2027 3:04 PM.", None),
        ("try again in 4 hours.", None),
        ("", None),
    ],
)
def test_without_a_full_window_the_sentence_tells(sentence: str, at: int | None) -> None:
    expected = None if at is None else Reset(at, at - NOW)
    assert reset(heard(update(primary=window(3))), ended(sentence)) == expected


def test_a_full_window_knows_better_than_the_sentence() -> None:
    assert reset(heard(FULL), ended("try again at Mar 1st, 2027 3:04 PM.")) == Reset(NOW + 60, 60)
