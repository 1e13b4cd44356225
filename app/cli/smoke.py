"""`codex smoke URL`: tries a deployment, anywhere, as a client would, check by check.

The key is read from a variable or from standard input, never from the command line, which every user of the machine
can read. The key in this checkout's `.env` belongs to the gateway of this host, and is not sent to another one unless
--key-env says so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
from click.core import ParameterSource
from dotenv import dotenv_values

from app.cli.checks import report, run_checks
from app.cli.exit_codes import Exit, give_up
from app.cli.gateway_client import GatewayClient
from app.cli.output import json_option
from app.cli.smoke_checks import CHECKS, REQUIREMENTS, Site, is_this_host
from app.settings import ROOT, read_environment


@click.command("smoke")
@click.argument("url")
@click.argument("unexpected", nargs=-1, metavar="")
@click.option(
    "--key-env", default="PROXY_API_KEY", show_default=True, help="The variable with the key."
)
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
@json_option
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
        give_up("smoke takes one address; a key: --key-env or --key-stdin.", Exit.USAGE)
    try:
        address = address_of(url)
    except ValueError as error:
        give_up(f"This is no address to try: {error}.", Exit.USAGE)
    if key_stdin:
        key = sys.stdin.readline().strip()
    else:
        was_named = context.get_parameter_source("key_env") is not ParameterSource.DEFAULT
        key = key_from(key_env, address, was_named=was_named)
    if not key:
        source = "Standard input" if key_stdin else key_env
        give_up(f"{source} is empty: it must hold a key of {address}.", Exit.USAGE)
    if not key.isascii() or not key.isprintable():
        give_up("The key has characters that no header can hold.", Exit.USAGE)
    site = Site(GatewayClient(address, key, timeout_s), model, frozenset(required))
    report(run_checks(CHECKS, site), as_json=as_json, key="passed", url=address)


def key_from(name: str, address: str, *, was_named: bool, env_file: Path = ROOT / ".env") -> str:
    """Return the variable's value, or end the command. `flask` copies `.env` into the environment: so compare."""
    key = read_environment(env_file).get(name, "").strip()
    is_ours = key and key == (dotenv_values(env_file).get(name) or "").strip()
    if is_ours and not was_named and not is_this_host(address):
        give_up(
            f"{name} holds this checkout's own key, and {address} is another host. Give a key of that deployment with "
            f"--key-env or --key-stdin; if it is the same one, say --key-env {name}.",
            Exit.USAGE,
        )
    return key


def address_of(given: str) -> str:
    """Return the address without its end (`/v1`, slashes). Raises `ValueError` with what is wrong."""
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and names a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address has no user name, no password, and ends with its path")
    return given.rstrip("/").removesuffix("/v1").rstrip("/")
