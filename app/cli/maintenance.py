"""Command `codex maintenance`: closes the running gateway for a while, and opens it again.

Over `/internal/maintenance`, with the operator's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from app.cli.output import facts, json_option, say
from app.cli.running_gateway import operator_client
from app.settings import load_settings


@click.group("maintenance")
def maintenance() -> None:
    """Answer every request with 503 and a hint when to come back. What runs goes on; health stays ready."""


@maintenance.command("on")
@click.option("--reason", metavar="TEXT", help="What every client is told; one line. It is public.")
@click.option(
    "--until", metavar="TIME", help="When it ends by itself, in UTC: 2026-12-01T10:00:00Z."
)
@click.option("--retry-after", type=int, metavar="SECONDS", help="When clients shall come back.")
def on(*, reason: str | None, until: str | None, retry_after: int | None) -> None:
    """Close the gateway."""
    order = {"enabled": True, "reason": reason, "until": until, "retry_after_s": retry_after}
    _call("POST", order)


@maintenance.command("off")
def off() -> None:
    """Open the gateway, whatever PROXY_MAINTENANCE_MODE says."""
    _call("POST", {"enabled": False})


@maintenance.command("reset")
def reset() -> None:
    """Do again what PROXY_MAINTENANCE_MODE says."""
    _call("DELETE")


@maintenance.command("status")
@json_option
def status(*, as_json: bool) -> None:
    """Show whether it is closed, since when and until when."""
    _call("GET", as_json=as_json)


def _call(method: str, order: Mapping[str, Any] | None = None, *, as_json: bool = False) -> None:
    """Print the state that the running gateway answers with. Blocks; raises `CheckFailed` with its refusal."""
    client = operator_client(load_settings())
    state = client.send("/internal/maintenance", order, method=method).good().json()
    say(state, facts(state), as_json=as_json)
