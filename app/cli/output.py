"""Output of the commands: tables, JSON, and a progress message when something takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click
import orjson

_PATIENCE_S = 1.0

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def say(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a value for a script as JSON (dataclasses become objects), or the lines that a person reads of it."""
    if as_json:
        click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo("\n".join(lines))


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; the last column has any length."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows]


def words(values: Mapping[str, object]) -> str:
    """Return names and values in one line, without those that are not known."""
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def facts(values: Mapping[str, object]) -> list[str]:
    """Return a line for each member of an object, without those that are not known."""
    return columns(
        (name, words(value) if isinstance(value, Mapping) else str(value))
        for name, value in values.items()
        if value is not None
    )


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
