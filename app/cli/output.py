"""Output of the commands: tables, JSON, and a progress message when something takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click
import orjson

_PATIENCE_S = 1.0

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def say_json(value: object) -> None:
    """Print one JSON value, indented; dataclasses become objects."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def say(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a value for a script as JSON, or the lines that a person reads of it."""
    if as_json:
        say_json(value)
    else:
        click.echo("\n".join(lines))


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; the last column has any length."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows]


@contextmanager
def waiting(sentence: str) -> Iterator[None]:
    """Say on standard error what is being waited for, if it takes longer than a second."""
    message = threading.Timer(_PATIENCE_S, click.echo, (sentence,), {"err": True})
    message.daemon = True
    message.start()
    try:
        yield
    finally:
        message.cancel()
