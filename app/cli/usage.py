"""`codex usage`: what each key has used of each model, as the running gateway counts it.

Over `/internal/usage`, with the operator's key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import click

from app.cli.output import columns, json_option, say
from app.cli.running_gateway import operator_client
from app.settings import load_settings

_COUNTS = (
    "requests",
    "errors",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_HEADING = ("DAY", "KEY", "MODEL", "REQUESTS", "ERRORS", "INPUT", "CACHED", "OUTPUT", "REASONING")
_ANSWER_S = 30.0
_NOT_KEPT = "Answers are stored nowhere (PROXY_RESPONSE_STORE=off): counted since the last reload."
_TRUNCATED = "There are more rows. Ask for fewer days, for one --key, or for one --model."


@click.command("usage")
@click.option("--days", type=click.IntRange(1, 3660), default=7, show_default=True, metavar="N")
@click.option("--key", metavar="NAME", help="Only this key.")
@click.option("--model", metavar="ID", help="Only this model.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, safe to open in a spreadsheet.")
@json_option
def usage(*, days: int, key: str | None, model: str | None, as_csv: bool, as_json: bool) -> None:
    """Show requests, errors and tokens by day (UTC), key and model."""
    asked = {"days": days, "key": key, "model": model, "format": "csv" if as_csv else "json"}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    client = operator_client(load_settings(), _ANSWER_S)
    answer = client.send(f"/internal/usage?{query}").good()
    if as_csv and not as_json:
        click.echo(answer.body, nl=False)
        return
    found = answer.json()
    say(found, table(found["rows"]), as_json=as_json)
    for is_so, sentence in ((not found["kept"], _NOT_KEPT), (found["truncated"], _TRUNCATED)):
        if is_so:
            click.echo(sentence, err=True)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines that a person reads, with the sum of several rows below."""
    if not rows:
        return ["Nothing was asked in these days."]
    sums = {name: sum(row[name] for row in rows) for name in _COUNTS}
    total = [{"day": "sum", "key": "", "model": "", **sums}] if len(rows) > 1 else []
    lines = [_HEADING, *(_line(row) for row in (*rows, *total))]
    widths = [max(len(line[place]) for line in lines) for place in range(len(_HEADING))]
    # Numbers end where their heading ends.
    return columns([*line[:3], *map(str.rjust, line[3:], widths[3:])] for line in lines)


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = (_printable(str(row[name])) for name in ("day", "key", "model"))
    return (*names, *(f"{row[name]:,}" for name in _COUNTS))


def _printable(text: str) -> str:
    # A name must not command the terminal.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
