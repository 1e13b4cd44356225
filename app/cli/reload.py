"""`codex reload`: lets the running gateway read settings and code again, as `kill -HUP` does; says what came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from app.cli.exit_codes import CheckFailed, give_up
from app.cli.output import waiting
from app.cli.running_gateway import client_of, pid_of
from app.codex.home import Home
from app.settings import Settings, load_settings

_LOOK_S = 0.2
_UNKNOWN = "unknown"
_BAD = {"refused": "It was refused, and nothing has changed", "failed": "It failed"}


@click.command("reload")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the new worker.",
)
def reload(*, timeout_s: float) -> None:
    """Read the settings and the code again. No request is lost; returns when the new worker serves."""
    settings = load_settings()
    pid = pid_of(Home(settings.codex_home).pid_file)
    if pid is None:
        give_up("No gateway runs with this CODEX_HOME.")
    sent_at = datetime.now(UTC)
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        give_up(f"It has just ended by itself (pid {pid}).")
    with waiting("The new worker starts; the old one serves until it is ready …"):
        report = await_end(pid, settings, sent_at, timeout_s)
    state, detail = report.get("state"), report.get("waits_for") or report.get("detail")
    if state in _BAD:
        give_up(f"{_BAD[state]}: {detail}")
    if state == _UNKNOWN:
        give_up(
            f"What came of it is not known after {timeout_s:g} seconds: the gateway did not say. It tells only those "
            "who have its PROXY_API_KEY; in any case its log has reload_done, reload_refused or reload_queued."
        )
    if state != "done":
        give_up(f"It is not done after {timeout_s:g} seconds ({state}). {detail or ''}".rstrip())
    click.echo("Reloaded: the new worker serves, the old one finishes what is open.")


def await_end(
    pid: int, settings: Settings, sent_at: datetime, timeout_s: float
) -> Mapping[str, Any]:
    """Return the report of the reload that was asked for then, once it has ended or the time is up. Blocks."""
    deadline = time.monotonic() + timeout_s
    report: Mapping[str, Any] = {"state": _UNKNOWN}
    while time.monotonic() < deadline:
        try:
            gateway = client_of(pid, settings, settings.api_key)  # its address may change
            found = gateway.send("/healthz").json().get("reload") or {}
        except CheckFailed:
            found = {}  # it changes hands
        if is_of(found, sent_at):
            report = found
            if report.get("state") in {"done", *_BAD}:
                break
        time.sleep(_LOOK_S)
    return report


def is_of(report: Mapping[str, Any], sent_at: datetime) -> bool:
    """Return whether a report is about the signal that was sent then, and not about one before it."""
    at = report.get("at")
    # The report has milliseconds, cut off.
    return at is not None and datetime.fromisoformat(at) >= sent_at - timedelta(milliseconds=1)
