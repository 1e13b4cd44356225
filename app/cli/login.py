"""`codex login` and `codex logout`: codex's own login, kept in CODEX_HOME.

The bundled binary does the work; what is added is the right CODEX_HOME, a bare environment, and the next step.
"""

from __future__ import annotations

import os
import shlex
import subprocess

import click

from app.cli.child import launcher_of
from app.cli.exit_codes import Exit, give_up
from app.cli.running_gateway import pid_of
from app.codex.home import Home
from app.codex.launch import Launcher
from app.settings import Settings, load_settings

# The login is a file below CODEX_HOME, never a desktop keyring that the service could not reach.
_IN_A_FILE = ("-c", 'cli_auth_credentials_store="file"')


# Unknown options become arguments, and those are refused without being repeated.
@click.command("login", context_settings={"ignore_unknown_options": True})
@click.option("--api-key-stdin", is_flag=True, help="Read an OpenAI API key from standard input.")
@click.argument("unexpected", nargs=-1, metavar="")
def login(*, api_key_stdin: bool, unexpected: tuple[str, ...]) -> None:
    """Log the service in: with a device code, or with an API key from standard input."""
    if unexpected:
        # click's own words would repeat what was typed, and that may be a key.
        give_up(
            "login takes --api-key-stdin or nothing. If what was typed was a key, it is now in this shell's history "
            "and was in the process table: revoke it, and give the new one with --api-key-stdin.",
            Exit.USAGE,
        )
    settings = load_settings()
    launcher = _prepare(settings)
    had_login = launcher.home.is_login_known
    _run_codex(launcher, "login", "--with-api-key" if api_key_stdin else "--device-auth")
    launcher.home.remember_login()
    click.echo(f"The login is in {launcher.home.auth_file}.")
    if settings.upstream_url:
        click.echo("It is not used as long as CODEX_UPSTREAM_URL is set.")
    else:
        click.echo(_next_step(launcher.home, is_demo=not had_login and settings.env != "prod"))


@click.command("logout")
def logout() -> None:
    """Remove the service's login."""
    launcher = _prepare(load_settings())
    was_logged_in = launcher.home.auth_file.exists()
    _run_codex(launcher, "logout")
    if was_logged_in:
        click.echo(_next_step(launcher.home))


def _prepare(settings: Settings) -> Launcher:
    home = Home(settings.codex_home)
    home.prepare()
    home.remember_login()  # before it is gone: its removal must not bring the demo back
    return launcher_of(settings, home)


def _run_codex(launcher: Launcher, command: str, *options: str) -> None:
    """Run the binary with our terminal as its own; if it fails, end with its exit code, as a shell would."""
    done = subprocess.run(
        [str(launcher.binary), *_IN_A_FILE, command, *options],
        env=launcher.environment(os.environ),
        cwd=launcher.home.workspace,
        umask=0o077,
        check=False,
    )
    if code := done.returncode if done.returncode >= 0 else 128 - done.returncode:
        give_up(f"The {command} was refused: codex ended with exit code {code}.", code)


def _next_step(home: Home, *, is_demo: bool = False) -> str:
    """Return how the change reaches the service: by itself, unless the demo serves, which is decided at its start."""
    if pid_of(home.pid_file) is None:
        return "No gateway runs with this CODEX_HOME; the next one that starts takes the change."
    if not is_demo:
        return "The running gateway takes the change by itself, within seconds."
    return (
        "The running gateway, which serves the demo, takes the login after a reload: "
        f"kill -HUP $(cat {shlex.quote(str(home.pid_file))})"
    )
