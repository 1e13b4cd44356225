"""The doctor's table: order, needs, and what becomes of a check that breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import doctor
from app.cli.checks import Level, Result, fail, ok, skip, warn
from app.cli.doctor import CHECKS, Check, Site
from app.settings import load_settings

NO_ENV_FILE = Path("/nonexistent/.env")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    variables = {"PROXY_API_KEY": "k" * 32, "CODEX_HOME": str(tmp_path)}
    return Site.of(load_settings(variables), "1.0", offline=True)


def levels(results: list[Result]) -> dict[str, Level]:
    return {result.name: result.level for result in results}


def broken(_: Site) -> Result:
    raise RuntimeError("sk-abcdefghij is no key")


def test_what_needs_a_failed_check_is_not_tried(site: Site) -> None:
    checks = (
        Check("a", lambda _: fail("a", "", "")),
        Check("b", broken, ("a",)),
        Check("c", broken, ("b",)),
        Check("d", lambda _: warn("d", "", "")),
        Check("e", lambda _: ok("e", ""), ("d",)),
    )
    assert levels(list(doctor.run_all(checks, site))) == {
        "a": Level.FAIL,
        "b": Level.SKIP,
        "c": Level.SKIP,
        "d": Level.WARN,
        "e": Level.OK,
    }


def test_a_check_that_breaks_is_a_failure_and_quotes_no_key(site: Site) -> None:
    (result,) = doctor.run_all((Check("a", broken),), site)
    assert result.level is Level.FAIL
    assert "RuntimeError: [hidden] is no key" in result.sentence


def test_needs_are_rows_above() -> None:
    above: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= above, check.name
        above.add(check.name)


def test_bad_settings_are_a_finding_and_the_rest_is_not_tried() -> None:
    results = list(doctor.examine({"PORT": "99999"}, NO_ENV_FILE, "1.0"))
    found = {result.name: result for result in results}
    assert found["settings"].level is Level.FAIL
    assert "PORT must be" in found["settings"].sentence
    assert "PROXY_API_KEY is required" in found["settings"].sentence
    assert all(found[check.name].level is Level.SKIP for check in CHECKS)
    assert found["python"].level in (Level.OK, Level.WARN)


def test_a_line() -> None:
    assert doctor.lines(ok("port", "It is free.")) == ["ok    port           It is free."]
    assert doctor.lines(fail("port", "Taken.", "Free it.")) == [
        "fail  port           Taken.",
        "                     -> Free it.",
    ]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([ok("a", "")], "The service can run."),
        ([ok("a", ""), skip("c", "")], "The service can run."),
        ([ok("a", ""), warn("b", "", "")], "The service can run. Warnings: 1."),
        (
            [fail("a", "", ""), warn("b", "", ""), fail("c", "", "")],
            "The service does not work like this: a, c.",
        ),
    ],
)
def test_the_verdict(results: list[Result], expected: str) -> None:
    assert doctor.verdict(results) == expected
