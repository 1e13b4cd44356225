"""`codex parity URL_A URL_B`: replays conversations against two gateways, and shows in what they differ.

Two deployments, two backends or two versions of codex. Keys are read from variables, as in `codex smoke`.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from app.cli.exit_codes import CheckFailed, Exit, give_up
from app.cli.gateway_client import GatewayClient
from app.cli.output import waiting
from app.cli.parity_conversations import BUILT_IN, Conversation, Step, read_conversations
from app.cli.parity_load import Load, LoadPlan, measure_load
from app.cli.parity_replay import Side, compare_sides, replay
from app.cli.parity_report import Report, as_html, as_json, lines
from app.cli.parity_values import Rules
from app.cli.smoke import KEY, address_of, is_key, key_from

_OUT = click.Path(dir_okay=False, writable=True, path_type=Path)
_WARM_UP = Conversation(
    "warm-up",
    (
        Step(
            "/v1/chat/completions",
            {"model": "$model", "messages": [{"role": "user", "content": "Say hello."}]},
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed behind the two addresses."""

    key_env: str | None
    key_env_a: str | None
    key_env_b: str | None
    model: str
    file: Path
    only: tuple[str, ...]
    repeat: int
    warm_up: int
    clients: int | None
    load_requests: int
    pause_ms: float
    words: bool
    tolerance: float
    upstream_a: str | None
    upstream_b: str | None
    timeout_s: float
    html: Path | None
    json: Path | None


@click.command("parity")
@click.argument("url_a")
@click.argument("url_b")
@click.argument("unexpected", nargs=-1, metavar="")
@click.option("--key-env", help=f"The variable with the key of both.  [default: {KEY}]")
@click.option("--key-env-a", help="The variable with the key of A alone.")
@click.option("--key-env-b", help="The variable with the key of B alone.")
@click.option("--model", default="", help="The model to ask; default: the first that both list.")
@click.option(
    "--conversations",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=BUILT_IN,
    help="A file of your own in place of the built-in conversations.",
)
@click.option("--only", multiple=True, help="Only conversations whose names begin so; repeatable.")
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Runs.")
@click.option(
    "--warm-up",
    type=click.IntRange(0, 100),
    default=1,
    show_default=True,
    help="Requests to each side before, which are not looked at.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 256),
    help="Then so many clients at once, on both sides by turns.",
)
@click.option(
    "--requests",
    "load_requests",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many short questions these clients ask each side.",
)
@click.option(
    "--pause",
    "pause_ms",
    type=click.FloatRange(0, 60_000),
    default=0.0,
    show_default=True,
    help="Milliseconds that each of them waits before it asks.",
)
@click.option("--words", is_flag=True, help="Compare what texts say, too: for scripted upstreams.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    default=10.0,
    show_default=True,
    help="Percent by which counts of tokens may differ.",
)
@click.option("--upstream-a", help="Address of a recording upstream behind A (see the docs).")
@click.option("--upstream-b", help="The same behind B; may be the same one.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds for each request.",
)
@click.option("--html", type=_OUT, help="Write the report as a page to this file.")
@click.option("--json", type=_OUT, help="Write it as JSON; -: print that instead.")
def parity(url_a: str, url_b: str, unexpected: tuple[str, ...], **given: Any) -> None:
    """Replay conversations against two gateways, at URL_A and URL_B, and show in what the answers differ.

    Exit code 0: alike, 1: different, 2: could not run. Asks each side's model about thirty short questions a run.
    """
    options = Options(**given)
    if unexpected:
        give_up(
            "parity takes two addresses; a key: --key-env, --key-env-a, --key-env-b.", Exit.USAGE
        )
    if bool(options.upstream_a) != bool(options.upstream_b):
        give_up(
            "What upstreams are sent is compared: give --upstream-a and --upstream-b.", Exit.USAGE
        )
    a = _side(url_a, "a", options.key_env_a or options.key_env, options.upstream_a, options)
    b = _side(url_b, "b", options.key_env_b or options.key_env, options.upstream_b, options)
    try:
        report = _compared((a, b), options)
        _write(report, options)
    except CheckFailed as failed:
        give_up(f"{failed}\n-> {failed.remedy}", Exit.USAGE)
    except (OSError, ValueError) as error:
        give_up(str(error), Exit.USAGE)
    if report.found:
        raise click.exceptions.Exit(Exit.FAILED)
    raise click.exceptions.Exit(Exit.USAGE if report.not_compared else Exit.OK)


def _side(url: str, name: str, key_env: str | None, upstream: str | None, options: Options) -> Side:
    """Return one side, or end the command where its address or its key is none."""
    try:
        address = address_of(url)
        control = address_of(upstream) if upstream else ""
    except ValueError as error:
        give_up(f"{name.upper()} is no address to try: {error}.", Exit.USAGE)
    source = key_env or KEY
    option = f"--key-env-{name}"
    key = key_from(source, address, was_named=key_env is not None, options=option)
    if not is_key(key):
        give_up(f"{source} is empty or holds what no header can hold: not a key.", Exit.USAGE)
    return Side(
        GatewayClient(address, key, options.timeout_s),
        GatewayClient(control, timeout_s=options.timeout_s) if control else None,
    )


def _compared(sides: tuple[Side, Side], options: Options) -> Report:
    """Replay everything. Blocks; raises `CheckFailed`, `OSError` and `ValueError` where it cannot."""
    has_upstreams = all(side.upstream is not None for side in sides)
    named = [
        each
        for each in read_conversations(options.file)
        if not options.only or each.name.startswith(options.only)
    ]
    chosen = [each for each in named if has_upstreams or each.upstream is None]
    if not named:
        raise ValueError("No conversation has such a name.")
    if not chosen:
        raise ValueError("These need scripted upstreams: --upstream-a, --upstream-b.")
    model = options.model or _shared_model(sides)
    for side in sides * options.warm_up:
        for exchange in replay(_WARM_UP, side, model):
            if exchange.failure:
                raise CheckFailed(exchange.failure, "Try codex smoke there first.")
    rules = Rules(words=options.words, tolerance=options.tolerance / 100)
    outcomes = []
    for conversation in chosen:
        with waiting(f"... {conversation.name}") if sys.stderr.isatty() else nullcontext():
            outcomes.append(
                compare_sides(conversation, sides, model, rules=rules, repeat=options.repeat)
            )
    a, b = (side.gateway.address for side in sides)
    return Report(
        a,
        b,
        model,
        options.repeat,
        options.words,
        has_upstreams,
        outcomes,
        left_out=len(named) - len(chosen),
        load=_measured(sides, model, options),
    )


def _measured(sides: tuple[Side, Side], model: str, options: Options) -> Load | None:
    """Put load on both sides by turns, if that was asked for. Blocks; raises `CheckFailed`."""
    if options.clients is None:
        return None
    plan = LoadPlan(options.clients, options.load_requests, options.pause_ms / 1000)
    with waiting("... load") if sys.stderr.isatty() else nullcontext():
        return measure_load(sides, model, plan)


def _shared_model(sides: tuple[Side, Side]) -> str:
    """Return the first model that both list. Blocks; raises `CheckFailed`."""
    a, b = (
        [m["id"] for m in side.gateway.send("/v1/models").good().json()["data"]] for side in sides
    )
    for name in a:
        if name in b:
            return str(name)
    raise CheckFailed(
        "The two list no model of the same name.", "Name one that both know: --model."
    )


def _write(report: Report, options: Options) -> None:
    """Print the report, and write its files. Raises `OSError`."""
    data = orjson.dumps(as_json(report), option=orjson.OPT_INDENT_2)
    is_printed = options.json == Path("-")
    if options.html is not None:
        options.html.write_text(as_html(report), encoding="utf-8")
    if options.json is not None and not is_printed:
        options.json.write_bytes(data + b"\n")
    click.echo(data.decode() if is_printed else "\n".join(lines(report)))
