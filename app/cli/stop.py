"""`codex stop`: ends the running gateway as `kill -TERM` does, and waits until it is gone."""

from __future__ import annotations

import os
import signal
import time

import click

from app.cli.exit_codes import give_up
from app.cli.output import waiting
from app.cli.running_gateway import is_gateway, pid_of
from app.codex.home import Home
from app.settings import Settings, load_settings

_LOOK_S = 0.1
_BEYOND_S = 15.0
"""Time beyond the grace: for the child's end, and for the master's own."""


@click.command("stop")
def stop() -> None:
    """End the running gateway. Open streams finish within WORKER_SHUTDOWN_GRACE_MS; returns when it is gone."""
    settings = load_settings()
    pid = pid_of(Home(settings.codex_home).pid_file)
    if pid is None:
        give_up("No gateway runs with this CODEX_HOME.")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        click.echo(f"It has just ended by itself (pid {pid}).")
        return
    if not _has_ended(pid, settings):
        give_up(f"It still runs (pid {pid}). Its log says what it waits for.")
    click.echo(f"The gateway has ended (pid {pid}).")


def _has_ended(pid: int, settings: Settings) -> bool:
    """Return whether the process has ended before its time is up. Blocks."""
    grace_s = settings.shutdown_grace_ms / 1000
    deadline = time.monotonic() + grace_s + _BEYOND_S
    with waiting(f"It ends. Open streams have {grace_s:g} seconds to finish …"):
        while is_gateway(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
    return True
