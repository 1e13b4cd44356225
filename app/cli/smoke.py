"""`codex smoke URL`: tries a deployment, anywhere, as a client would, check by check.

The key is read from a variable or from standard input, never from the command line, which every user of the machine
can read. The key in this checkout's `.env` belongs to the gateway of this host, and is not sent to another one unless
--key-env says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import click
import gevent
from click.core import ParameterSource
from dotenv import dotenv_values

from app.cli.checks import Check, Level, Result, fail, lines, run_checks
from app.cli.exit_codes import Exit, give_up
from app.cli.output import say_json, waiting
from app.cli.smoke_checks import CHECKS, REQUIREMENTS, Site, is_this_host
from app.cli.smoke_http import CHECK_PROXY, CheckFailed, Deployment
from app.settings import ROOT, read_environment

_KEY = "PROXY_API_KEY"
_USAGE = 2


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
    for result, ms in run_timed(site):
        results.append((result, ms))
        if not as_json:
            click.echo("\n".join(timed_lines(result, ms)))
    passed = all(result.level is not Level.FAIL for result, _ in results)
    if as_json:
        checks = [{**asdict(result), "ms": ms} for result, ms in results]
        say_json({"passed": passed, "url": address, "checks": checks})
    else:
        click.echo("\n" + verdict([result for result, _ in results]))
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


def address_of(given: str) -> str:
    """Return the address without its end: `/v1`, slashes. Raises `ValueError` with what is wrong."""
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and names a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address has no user name, no password, and ends with its path")
    return given.rstrip("/").removesuffix("/v1").rstrip("/")


def run_timed(site: Site) -> Iterator[tuple[Result, int]]:
    """Yield the result of each check and the milliseconds that it took. Blocks."""
    began = time.monotonic()
    for result in run_checks(CHECKS, partial(_attempt, site)):
        yield result, round((time.monotonic() - began) * 1000)
        began = time.monotonic()


def _attempt(site: Site, check: Check[Site]) -> Result:
    """Try one check in a thread: `requests` blocks, and a person at a terminal is told what takes long."""
    is_seen = sys.stderr.isatty()
    with waiting(f"... {check.name}") if is_seen else nullcontext():
        result: Result = gevent.get_hub().threadpool.apply(_run, (check, site))
    return result


def _run(check: Check[Site], site: Site) -> Result:
    try:
        return check.run(site)
    except CheckFailed as failed:
        return fail(failed.sentence, failed.remedy)
    except KeyError as error:
        return fail(f"The answer has no {error.args[0]}.", CHECK_PROXY)
    # A deployment can be anything: what it said is a finding, and the checks after it are still of use.
    except Exception as error:  # noqa: BLE001
        return fail(f"What came is not the gateway's: {type(error).__name__}.", CHECK_PROXY)


def timed_lines(result: Result, ms: int) -> list[str]:
    """Return what a person reads of one result."""
    word = "FAILED" if result.level is Level.FAIL else result.level.value
    took = "" if result.level is Level.SKIP and not ms else f"{ms} ms"
    return lines(f"{word:6}  {result.name:10}  {took:>9}", result.sentence, result.remedy)


def verdict(results: list[Result]) -> str:
    """Return the last line."""
    failed = [result.name for result in results if result.level is Level.FAIL]
    warned = [result.name for result in results if result.level is Level.WARN]
    if failed:
        return f"FAILED: {', '.join(failed)}."
    return "Passed." if not warned else f"Passed, with warnings: {', '.join(warned)}."
