"""Table of the commands `.venv/bin/flask --app wsgi codex …`. Each is loaded when it is used.

A gunicorn worker, which registers this group with the application, therefore loads none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click
from flask import Flask

from app.cli.exit_codes import CheckFailed, give_up
from app.settings import SettingsError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "ask": "app.cli.ask",
        "doctor": "app.cli.doctor",
        "login": "app.cli.login",
        "logout": "app.cli.login",
        "maintenance": "app.cli.maintenance",
        "models": "app.cli.models",
        "parity": "app.cli.parity",
        "reload": "app.cli.reload",
        "smoke": "app.cli.smoke",
        "status": "app.cli.status",
        "stop": "app.cli.stop",
        "trace": "app.cli.trace",
        "usage": "app.cli.usage",
    }
)
"""A command's name, which is also its function's, and the module that has it."""


class Commands(click.Group):
    """Click group over the table above, in which a failure of a command is a sentence on standard error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end it where the settings are refused or something that it needs is missing."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            give_up("\n".join(error.problems))
        except CheckFailed as error:
            give_up(f"{error}\n-> {error.remedy}")
        except BrokenPipeError:
            raise  # nobody reads on (`| head`): click ends without a word
        except OSError as error:
            give_up(str(error))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every name, in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, loading its module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.group("codex", cls=Commands)
def group() -> None:
    """Log in and out, ask a running gateway, see what it can do and why it cannot, reload it, close it, stop it.

    Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 nobody is logged in; of parity 1 different, 2 could not run.
    """


def commands_only() -> Flask:
    """Return an application with the commands and no route: `doctor` must run where the real one cannot be built."""
    app = Flask("app", static_folder=None)
    app.cli.add_command(group)
    return app
