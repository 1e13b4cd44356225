"""Tables of checks: order, needs, what becomes of a check that breaks; and the doctor's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.checks import Check, Level, Result, fail, lines, ok, run_checks, verdict, warn
from app.cli.doctor import CHECKS, Site
from app.cli.exit_codes import CheckFailed

NO_ENV_FILE = Path("/nonexistent/.env")


def levels(results: list[Result]) -> dict[str, Level]:
    return {result.name: result.level for result in results}


def broken(_: None) -> Result:
    raise RuntimeError("sk-abcdefghij is no key")


def failed(_: None) -> Result:
    raise CheckFailed("So.", "Do that.")


def test_what_needs_a_failed_check_is_not_tried() -> None:
    checks: tuple[Check[None], ...] = (
        Check("a", lambda _: fail("", "")),
        Check("b", broken, ("a",)),
        Check("c", broken, ("b",)),
        Check("d", lambda _: warn("", "")),
        Check("e", lambda _: ok(""), ("d",)),
    )
    assert levels(list(run_checks(checks, None))) == {
        "a": Level.FAIL,
        "b": Level.SKIP,
        "c": Level.SKIP,
        "d": Level.WARN,
        "e": Level.OK,
    }


def test_a_check_that_fails_says_what_to_do() -> None:
    (result,) = run_checks([Check("a", failed)], None)
    assert (result.level, result.sentence, result.remedy) == (Level.FAIL, "So.", "Do that.")


def test_a_check_that_breaks_is_a_failure_and_quotes_no_key() -> None:
    (result,) = run_checks([Check("a", broken)], None)
    assert result.level is Level.FAIL
    assert "RuntimeError: [hidden] is no key" in result.sentence
    assert result.remedy


def test_needs_are_rows_above() -> None:
    above: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= above, check.name
        above.add(check.name)


def test_bad_settings_are_a_finding_and_the_rest_is_not_tried() -> None:
    first, *rest = run_checks(CHECKS, Site({"PORT": "99999"}, NO_ENV_FILE))
    assert (first.name, first.level) == ("settings", Level.FAIL)
    assert "PORT must be" in first.sentence
    assert "PROXY_API_KEY is required" in first.sentence
    assert all(result.level is Level.SKIP for result in rest)


@pytest.mark.parametrize(
    ("mode", "more", "noted"),
    [
        (0o600, {}, []),
        (0o400, {}, []),
        (0o640, {}, ["Other users may read "]),
        (0o644, {}, ["Other users may read "]),
        (0o600, {"PROXY_APIKEY": "x"}, ["PROXY_APIKEY is no setting"]),
        (0o600, {"PROXY_ENV": "staging"}, ["PROXY_API_KEY needs 24 characters"]),
    ],
)
def test_what_is_noted_about_settings(
    tmp_path: Path, mode: int, more: dict[str, str], noted: list[str]
) -> None:
    path = tmp_path / ".env"
    path.touch(mode)
    path.chmod(mode)
    site = Site({"PROXY_API_KEY": "k", "CODEX_HOME": str(tmp_path), **more}, path)
    result = next(run_checks(CHECKS, site))
    assert result.level is (Level.WARN if noted else Level.OK)
    assert f"PROXY_ENV is {more.get('PROXY_ENV', 'dev')}." in result.sentence
    assert all(note in result.sentence for note in noted)


def test_lines() -> None:
    assert lines(Result("port", Level.OK, "It is free.", ms=12)) == [
        "ok      port             12 ms  It is free."
    ]
    assert lines(Result("port", Level.FAIL, "Taken.", "Free it.")) == [
        "FAILED  port              0 ms  Taken.",
        "                                -> Free it.",
    ]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ("ok", "Passed."),
        ("ok skip", "Passed."),
        ("ok warn", "Passed, with warnings: b."),
        ("fail warn fail", "FAILED: a, c."),
    ],
)
def test_the_verdict(levels: str, expected: str) -> None:
    results = [
        Result(name, Level(level), "") for name, level in zip("abc", levels.split(), strict=False)
    ]
    assert verdict(results) == expected
