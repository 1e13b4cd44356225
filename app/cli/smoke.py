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
from dotenv import dotenv_values

from app.cli.checks import report, run_checks
from app.cli.exit_codes import Exit, give_up
from app.cli.gateway_client import GatewayClient
from app.cli.output import json_option
from app.cli.smoke_checks import CHECKS, REQUIREMENTS, Site, is_this_host
from app.settings import ROOT, read_environment

KEY = "PROXY_API_KEY"
"""The variable with the key, unless another is named."""


@click.command("smoke")
@click.argument("url")
@click.argument("unexpected", nargs=-1, metavar="")
@click.option("--key-env", show_default=KEY, help="The variable with the key.")
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
def smoke(
    *,
    url: str,
    unexpected: tuple[str, ...],
    key_env: str | None,
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
        source, key = "Standard input", sys.stdin.readline().strip()
    else:
        source = key_env or KEY
        key = key_from(source, address, was_named=key_env is not None)
    if not is_key(key):
        give_up(f"{source} is empty or holds what no header can hold: not a key.", Exit.USAGE)
    site = Site(GatewayClient(address, key, timeout_s), model, frozenset(required))
    report(run_checks(CHECKS, site), as_json=as_json, key="passed", url=address)


def is_key(text: str) -> bool:
    """Return whether a header can hold it."""
    return bool(text) and text.isascii() and text.isprintable()


def key_from(
    name: str,
    address: str,
    *,
    was_named: bool,
    env_file: Path = ROOT / ".env",
    options: str = "--key-env or --key-stdin",
) -> str:
    """Return the variable's value, or end the command. `flask` copies `.env` into the environment: so compare."""
    key = read_environment(env_file).get(name, "").strip()
    is_ours = key and key == (dotenv_values(env_file).get(name) or "").strip()
    if is_ours and not was_named and not is_this_host(address):
        give_up(
            f"{name} holds this checkout's own key, and {address} is another host. Give a key of that deployment with "
            f"{options}; if it is the same one, say --key-env {name}.",
            Exit.USAGE,
        )
    return key


def address_of(given: str) -> str:
    """Return the address without its end (`/v1`, slashes). Raises `ValueError` with what is wrong."""
    parts = urlsplit(given)
    is_web = parts.scheme in {"http", "https"} and parts.hostname
    if not is_web or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address is http(s)://host and perhaps a path, without a user or ?")
    return given.rstrip("/").removesuffix("/v1").rstrip("/")
