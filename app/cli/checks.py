"""Checks as `codex doctor` and `codex smoke` run them: a table of them, a result for each, and the report.

A check looks and does not repair; a result that is not ok says what to do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Generic, NoReturn, TypeVar

import click

from app.cli.exit_codes import CheckFailed, Exit
from app.cli.output import say, waiting
from app.scrub import without_secrets

T = TypeVar("T")


class Level(Enum):
    """Severity. Only FAIL keeps the service from working; SKIP was not tried."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a report. `remedy` is what to do, empty where nothing is; `run_checks` fills in `name` and `ms`."""

    name: str
    level: Level
    sentence: str
    remedy: str = ""
    ms: int = 0


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """One row of a table. `run` may raise `CheckFailed`. `needs` are rows above it that must not have failed."""

    name: str
    run: Callable[[T], Result]
    needs: tuple[str, ...] = ()


ok = partial(Result, "", Level.OK)
warn = partial(Result, "", Level.WARN)  # it works, but should be changed
fail = partial(Result, "", Level.FAIL)
skip = partial(Result, "", Level.SKIP)  # it was not tried, and why


def run_checks(checks: Iterable[Check[T]], site: T) -> Iterator[Result]:
    """Yield the result of each as soon as it is known; one whose needs failed or were skipped is skipped. Blocks."""
    missing: set[str] = set()
    for check in checks:
        began = time.monotonic()
        lacks = [name for name in check.needs if name in missing]
        result = skip(f"Not tried: {lacks[0]} comes first.") if lacks else _attempt(check, site)
        if result.level in (Level.FAIL, Level.SKIP):
            missing.add(check.name)
        yield replace(result, name=check.name, ms=round((time.monotonic() - began) * 1000))


def _attempt(check: Check[T], site: T) -> Result:
    """Try one check; a person at a terminal is told what takes long."""
    try:
        with waiting(f"... {check.name}") if sys.stderr.isatty() else nullcontext():
            return check.run(site)
    except CheckFailed as failed:
        return fail(str(failed), failed.remedy)
    # Whatever a check stumbles over is a finding, and the checks after it are still of use.
    except Exception as error:  # noqa: BLE001
        what = f"{type(error).__name__}: {without_secrets(str(error))}"
        return fail(
            f"What was found is not what belongs there ({what}).", "Look there; or report a defect."
        )


def report(results: Iterable[Result], *, as_json: bool, key: str, **more: str) -> NoReturn:
    """Print the results as they come, or JSON in which `key` says whether none failed; end the command."""
    seen = []
    for result in results:
        seen.append(result)
        if not as_json:
            click.echo("\n".join(lines(result)))
    passed = all(result.level is not Level.FAIL for result in seen)
    say({key: passed, **more, "checks": seen}, ["", verdict(seen)], as_json=as_json)
    raise click.exceptions.Exit(Exit.OK if passed else Exit.FAILED)


def lines(result: Result) -> list[str]:
    """Return what a person reads of one result: the remedy on a line of its own."""
    word = "FAILED" if result.level is Level.FAIL else result.level.value
    head = f"{word:6}  {result.name:11}  {result.ms:>6} ms  "
    remedy = [f"{'':{len(head)}}-> {result.remedy}"] if result.remedy else []
    return [head + result.sentence, *remedy]


def verdict(results: Sequence[Result]) -> str:
    """Return the last line."""
    failed = [result.name for result in results if result.level is Level.FAIL]
    warned = [result.name for result in results if result.level is Level.WARN]
    if failed:
        return f"FAILED: {', '.join(failed)}."
    return "Passed." if not warned else f"Passed, with warnings: {', '.join(warned)}."
