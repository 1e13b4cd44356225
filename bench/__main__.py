"""Command line: `python -m bench`. Exits 1 if any answer was wrong, 2 if something did not start."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import measurements, starts, table, untuned
from bench.measurements import binary
from bench.processes import StartError

_QUICK = {
    "requests": 25,
    "rounds": 2,
    "requests_a_client": 4,
    "loop_repeats": 1,
    "loop_rounds": 8,
    "most_loops": 2,
}
_FULL = {
    "concurrency": "1,8,32,64,128",
    "interval_ms": "0,25",
    "sides": "gateway,cold,warm,kept,exec",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="The gateway against hand-written clients of the same codex app-server.",
    )
    for add_options in (_question_options, _loop_options, _start_options, _output_options):
        add_options(parser)
    options = parser.parse_args(arguments)
    for asked, values in ((options.full, _FULL), (options.quick, _QUICK)):
        if asked:
            vars(options).update(values)
    options.concurrency = [int(word) for word in filter(None, options.concurrency.split(","))]
    options.interval_ms = [float(word) for word in options.interval_ms.split(",")]
    options.sides = options.sides.split(",")
    options.without = list(filter(None, options.without.split(",")))
    _check(parser, options)
    return options


def _question_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("single questions").add_argument
    add("--requests", type=int, default=50, help="in each round of a side")
    add(
        "--requests-a-client",
        type=int,
        default=8,
        help="at least so many, or the burst at a round's start would be most of it",
    )
    add("--rounds", type=int, default=10, help="for each side of a cell")
    add("--concurrency", default="1,8,32", help="the cells, like 1,8,32; empty: none")
    add("--deltas", type=int, default=50, help="in each answer")
    add("--interval-ms", default="0", help="between deltas, like 0,25; 0: unpaced")
    add("--flood", type=int, default=20_000, help="deltas of the one long stream; 0: none")
    add("--sides", default="gateway,cold,warm,kept", help=f"of {','.join(measurements.SIDES)}")
    add("--whole", action="store_true", help="unpaced answers also as one object")
    add("--control", type=Path, metavar="CHECKOUT", help="also the gateway of another checkout")
    add("--peers", action="store_true", help="also ChatMock and LiteLLM, which it installs")
    add("--websockets", action="store_true", help="between the children and the upstream")
    add("--without", default="", help=f"parts of the children's tuning: {','.join(untuned.PARTS)}")
    add("--relay", action="store_true", help="TLS and a round trip of 30 ms before the upstream")


def _start_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("starts, in place of everything else").add_argument
    add("--starts", type=int, default=0, help="of the service, in a fresh home and in a used one")
    add("--against", type=Path, metavar="CHECKOUT", help="another checkout, which takes turns")


def _loop_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("agent loops").add_argument
    add("--loop-repeats", type=int, default=3, help="of each workload, for each side; 0: none")
    add("--loop-rounds", type=int, default=30, help="calls in each loop")
    add("--result-chars", type=int, default=2048, help="in the result of each call")
    add("--most-loops", type=int, default=16, help="leave out workloads of more loops at once")


def _output_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--quick", action="store_true", help="a run of about 30 seconds")
    add("--full", action="store_true", help="every number of clients, paced too, and codex exec")
    add("--json", type=Path, metavar="FILE", help="also write the figures there")
    add("--plots", type=Path, metavar="FOLDER", help="also draw them there, as PNG and SVG")
    add("--from-json", type=Path, metavar="FILE", help="measure nothing: show these figures")


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    counts = (options.requests, options.rounds, options.deltas, options.loop_rounds)
    if min(*counts, *options.concurrency) < 1:
        parser.error("every count must be at least 1")
    if options.control and not (options.control / "gunicorn.conf.py").is_file():
        parser.error("--control: no checkout of the gateway")
    unknown = set(options.sides) - set(measurements.SIDES)
    if unknown:
        parser.error(f"--sides: unknown: {', '.join(sorted(unknown))}")
    if unknown := set(options.without) - set(untuned.PARTS):
        parser.error(f"--without: unknown: {', '.join(sorted(unknown))}")


def main(arguments: Sequence[str]) -> int:
    """Run everything; return the exit code."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process is still ended
    try:
        draw = _drawing() if options.plots else None
        if options.starts:
            print(starts.text(starts.measure(options.starts, options.against, binary())))
            return 0
        if options.from_json:
            result = json.loads(options.from_json.read_text(encoding="utf-8"))
        else:
            result = measurements.run(options)
        print(table.text(result))
        if options.json:
            written = json.dumps(result, indent=2, default=str) + "\n"
            options.json.write_text(written, encoding="utf-8")
        if draw:
            draw(result, options.plots)
    except StartError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return exit_code(result)


def _drawing() -> Callable[[dict[str, Any], Path], object]:
    """Return what draws plots, before anything is measured for it. Raises `StartError`."""
    from bench import plots  # noqa: PLC0415 - matplotlib is in `make bench`'s environment alone

    return plots.draw


def exit_code(result: dict[str, Any]) -> int:
    """Return 1 if any answer was wrong. An aim that is missed is printed, and no fault of the run."""
    return int(any(sum(found["wrong"].values()) for found in table.every_cell(result)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
