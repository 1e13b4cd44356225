"""Output of the commands: tables, JSON, and a progress message when something takes long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
import gevent
import orjson

_PATIENCE_S = 1.0


def say_json(value: object) -> None:
    """Print one JSON value, indented; dataclasses become objects."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; the last column has any length."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)] if rows else []
    lines = []
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*padded, row[-1]]).rstrip())
    return lines


@contextmanager
def waiting(sentence: str, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Say on standard error what is being waited for, if it takes longer than a second."""
    message = gevent.spawn_later(patience_s, click.echo, sentence, err=True)
    try:
        yield
    finally:
        message.kill()
