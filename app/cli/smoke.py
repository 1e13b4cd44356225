"""`codex smoke URL`: is a deployment, anywhere, what its clients need? Asks it as a client would, check by check.

The key is read from a variable or from standard input, never from the command line, which every user of the machine
can read. The key in this checkout's `.env` belongs to the gateway of this host, and is not sent to another one unless
--key-env says so.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource
from dotenv import dotenv_values

from app.cli.checks import Level, Result, fail, skip
from app.cli.exit_codes import Exit, give_up
from app.cli.output import columns, say_json
from app.cli.smoke_checks import CHECKS, REQUIREMENTS, Check, Site
from app.cli.smoke_http import Deployment, Finding, address_of, is_this_host
from app.settings import ROOT, read_environment

_KEY = "PROXY_API_KEY"
_USAGE = 2
_PATIENCE_S = 1.0
_WORDS = {Level.OK: "ok", Level.WARN: "warn", Level.FAIL: "FAILED", Level.SKIP: "skip"}


@dataclass(frozen=True, slots=True)
class Timed:
    """One line: a result and how long it took to find out."""

    name: str
    level: Level
    sentence: str
    remedy: str
    ms: int


@click.command("smoke")
@click.argument("url")
@click.argument("unexpected", nargs=-1, metavar="")
@click.option("--key-env", default=_KEY, show_default=True, help="The variable with the key.")
@click.option("--key-stdin", is_flag=True, help="Read the key from standard input.")
@click.option("--model", default="", help="The model to ask; default: the first that is listed.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds for each request.",
)
@click.option(
    "--require",
    "required",
    type=click.Choice(REQUIREMENTS),
    multiple=True,
    help="Fail where there is only a warning otherwise: no TLS; the demo answers; no tool was called.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
@click.pass_context
def smoke(  # noqa: PLR0913  (one for each option)
    context: click.Context,
    *,
    url: str,
    unexpected: tuple[str, ...],
    key_env: str,
    key_stdin: bool,
    model: str,
    timeout_s: float,
    required: tuple[str, ...],
    as_json: bool,
) -> None:
    """Try a running gateway at URL: health, keys, errors, models, an answer, a stream, tools.

    Exit code 1 if anything fails. Asks the model four short questions.
    """
    if unexpected:
        # click's own words would repeat what was typed, and that may be a key.
        give_up("smoke takes one address. A key is given with --key-env or --key-stdin.", _USAGE)
    try:
        address = address_of(url)
    except ValueError as error:
        give_up(f"This is no address to try: {error}.", _USAGE)
    was_named = context.get_parameter_source("key_env") is not ParameterSource.DEFAULT
    key = _key_from_stdin() if key_stdin else key_from(key_env, address, was_named=was_named)
    site = Site(Deployment(address, key, timeout_s), model, frozenset(required))
    results = []
    for result in run_all(CHECKS, site):
        results.append(result)
        if not as_json:
            click.echo("\n".join(lines(result)))
    passed = all(result.level is not Level.FAIL for result in results)
    if as_json:
        say_json({"passed": passed, "url": address, "checks": results})
    else:
        click.echo("\n" + verdict(results))
    context.exit(Exit.OK if passed else Exit.FAILED)


def _key_from_stdin() -> str:
    key = sys.stdin.readline().strip()
    if not key:
        give_up("There is no key on standard input.", _USAGE)
    return _sendable(key)


def key_from(name: str, address: str, *, was_named: bool, env_file: Path = ROOT / ".env") -> str:
    """Return the variable's value, or end the command. `flask` copies `.env` into the environment: so compare."""
    key = read_environment(env_file).get(name, "").strip()
    if not key:
        give_up(f"{name} is empty: it must hold a key of {address}. Or use --key-stdin.", _USAGE)
    is_ours = key == (dotenv_values(env_file).get(name) or "").strip()
    if is_ours and not was_named and not is_this_host(address):
        give_up(
            f"{name} holds this checkout's own key, and {address} is another host. Give a key of that deployment with "
            f"--key-env or --key-stdin; if it is the same one, say --key-env {name}.",
            _USAGE,
        )
    return _sendable(key)


def _sendable(key: str) -> str:
    if not key.isascii() or not key.isprintable():
        give_up("The key has characters that no header can hold.", _USAGE)
    return key


def run_all(checks: tuple[Check, ...], site: Site) -> Iterator[Timed]:
    """Yield the result of each check; one whose need failed, or was not tried, is not tried either."""
    missing: set[str] = set()
    for check in checks:
        began = time.monotonic()
        if check.needs in missing:
            result = skip(check.name, f"Not tried: {check.needs} comes first.")
        else:
            with _progress(f"... {check.name}"):
                result = _run(check, site)
        if result.level is Level.FAIL or check.needs in missing:
            missing.add(check.name)
        ms = round((time.monotonic() - began) * 1000)
        yield Timed(result.name, result.level, result.sentence, result.remedy, ms)


def _run(check: Check, site: Site) -> Result:
    try:
        return check.run(site)
    except Finding as finding:
        return fail(check.name, finding.sentence, finding.remedy)
    # A deployment can be anything: what it said is a finding, and the checks after it are still of use.
    except Exception as error:  # noqa: BLE001
        said = f"What came is not the gateway's: {type(error).__name__}."
        return fail(check.name, said, "Check the address and the proxy there.")


@contextmanager
def _progress(sentence: str) -> Iterator[None]:
    """Say on a terminal what takes longer than a second. A thread: nothing here lets greenlets run meanwhile."""
    if not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(_PATIENCE_S, click.echo, (sentence,), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def lines(result: Timed) -> list[str]:
    """Return what a person reads of one result."""
    took = "" if result.level is Level.SKIP and not result.ms else f"{result.ms} ms"
    cells = (_WORDS[result.level].ljust(6), result.name.ljust(10), took.rjust(9), result.sentence)
    (head,) = columns([cells])
    return [head, f"{'':31}-> {result.remedy}"] if result.remedy else [head]


def verdict(results: list[Timed]) -> str:
    """Return the last line."""
    failed = [result.name for result in results if result.level is Level.FAIL]
    warned = [result.name for result in results if result.level is Level.WARN]
    if failed:
        return f"FAILED: {', '.join(failed)}."
    return "Passed." if not warned else f"Passed, with warnings: {', '.join(warned)}."
