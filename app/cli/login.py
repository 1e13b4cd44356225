"""`flask --app wsgi codex login` and `logout`: codex's own login, kept in CODEX_HOME.

The bundled binary does the work; what is added is the right CODEX_HOME, a bare environment, and the next step.
"""

from __future__ import annotations

import os
import subprocess
import sys

import click
from flask import current_app
from flask.cli import AppGroup

from app.codex.launch import Launcher

group = AppGroup("codex", help="The codex child: its login.")

# The login is a file below CODEX_HOME, never a desktop keyring that the service could not reach.
_IN_A_FILE = ("-c", 'cli_auth_credentials_store="file"')


@group.command("login")
@click.option("--api-key-stdin", is_flag=True, help="Read an OpenAI API key from standard input.")
def login(*, api_key_stdin: bool) -> None:
    """Log the service in: with a device code, or with an API key from standard input."""
    _run_codex("login", "--with-api-key" if api_key_stdin else "--device-auth")
    click.echo(
        "A running gateway takes the login after a reload: kill -HUP $(cat CODEX_HOME/gunicorn.pid)"
    )


@group.command("logout")
def logout() -> None:
    """Remove the service's login."""
    _run_codex("logout")


def _run_codex(*arguments: str) -> None:
    """Run the binary with our terminal as its own; exit with its code if it fails."""
    launcher: Launcher = current_app.extensions["launcher"]
    launcher.home.prepare()
    done = subprocess.run(
        [str(launcher.binary), *_IN_A_FILE, *arguments],
        env=launcher.environment(os.environ),
        cwd=launcher.home.workspace,
        umask=0o077,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.returncode)
    launcher.home.was_login_configured()
