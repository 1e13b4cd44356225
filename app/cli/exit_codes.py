"""Exit codes of the commands, and failures as sentences: scripts read the codes, people the sentences."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NoReturn

import click

from app.settings import Settings, SettingsError, load_settings


class Exit(IntEnum):
    """Exit code of a command. 2 is click's: the command was typed wrongly."""

    OK = 0
    FAILED = 1
    NOT_LOGGED_IN = 3


def give_up(message: str, code: int = Exit.FAILED) -> NoReturn:
    """Say on standard error why the command cannot do what it was asked, and end it."""
    click.echo(message, err=True)
    raise click.exceptions.Exit(code)


def load() -> Settings:
    """Return the settings, or end the command with one sentence for each problem."""
    try:
        return load_settings()
    except SettingsError as error:
        give_up("\n".join(error.problems))


_SECRETS = re.compile(r"\b(?:sk|rt|sess)[-_][\w.-]{4,}|\beyJ[\w.-]{8,}|(?i:bearer)\s+\S+")


def without_secrets(text: str) -> str:
    """Return the text with keys and tokens hidden: an upstream may quote the key that it refused."""
    return _SECRETS.sub("[hidden]", text)
