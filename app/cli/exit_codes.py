"""Exit codes of the commands, and failures as sentences: scripts read the codes, people the sentences."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import click

_SHOWN_CONTROLS = frozenset("\n\t")


class Exit(IntEnum):
    """Exit code of a command. USAGE, the command was typed wrongly, is click's own, too."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_LOGGED_IN = 3


class CheckFailed(Exception):
    """Something is not as it must be: a sentence, and what to do."""

    def __init__(self, sentence: str, remedy: str) -> None:
        super().__init__(sentence)
        self.remedy = remedy


def shown(text: str) -> str:
    """Return a text that others wrote without what could steer a terminal."""
    return "".join(one for one in text if one.isprintable() or one in _SHOWN_CONTROLS)


def give_up(message: str, code: int = Exit.FAILED) -> NoReturn:
    """Say on standard error why the command cannot do what it was asked, and end it."""
    click.echo(shown(message), err=True)
    raise click.exceptions.Exit(code)
