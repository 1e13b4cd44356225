"""The doctor's table: order, needs, and what becomes of a check that breaks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from app.cli import doctor
from app.cli.checks import Check, Level, Result, fail, lines, ok, run_checks, warn
from app.cli.doctor import CHECKS, attempt

NO_ENV_FILE = Path("/nonexistent/.env")


def levels(results: list[Result]) -> dict[str, Level]:
    return {result.name: result.level for result in results}


def broken(_: None) -> Result:
    raise RuntimeError("sk-abcdefghij is no key")


def test_what_needs_a_failed_check_is_not_tried() -> None:
    checks: tuple[Check[None], ...] = (
        Check("a", lambda _: fail("", "")),
        Check("b", broken, ("a",)),
        Check("c", broken, ("b",)),
        Check("d", lambda _: warn("", "")),
        Check("e", lambda _: ok(""), ("d",)),
    )
    assert levels(list(run_checks(checks, partial(attempt, None)))) == {
        "a": Level.FAIL,
        "b": Level.SKIP,
        "c": Level.SKIP,
        "d": Level.WARN,
        "e": Level.OK,
    }


def test_a_check_that_breaks_is_a_failure_and_quotes_no_key() -> None:
    result = attempt(None, Check("a", broken))
    assert result.level is Level.FAIL
    assert "RuntimeError: [hidden] is no key" in result.sentence


def test_needs_are_rows_above() -> None:
    above: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= above, check.name
        above.add(check.name)


def test_bad_settings_are_a_finding_and_the_rest_is_not_tried() -> None:
    results = list(doctor.examine({"PORT": "99999"}, NO_ENV_FILE))
    found = {result.name: result for result in results}
    assert found["settings"].level is Level.FAIL
    assert "PORT must be" in found["settings"].sentence
    assert "PROXY_API_KEY is required" in found["settings"].sentence
    assert all(found[check.name].level is Level.SKIP for check in CHECKS)
    assert found["python"].level in (Level.OK, Level.WARN)


def test_a_line() -> None:
    assert lines("ok    port         ", "It is free.", "") == ["ok    port           It is free."]
    assert lines("fail  port         ", "Taken.", "Free it.") == [
        "fail  port           Taken.",
        "                     -> Free it.",
    ]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ("ok", "The service can run."),
        ("ok skip", "The service can run."),
        ("ok warn", "The service can run. Warnings: 1."),
        ("fail warn fail", "The service does not work like this: a, c."),
    ],
)
def test_the_verdict(levels: str, expected: str) -> None:
    results = [
        Result(name, Level(level), "") for name, level in zip("abc", levels.split(), strict=False)
    ]
    assert doctor.verdict(results) == expected
