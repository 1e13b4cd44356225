"""Table of the result for people; the JSON form has the same figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.cells import FLOOR, quartiles

_COLUMNS = (
    ("req_s", "req/s"),
    ("first_p50", "first p50"),
    ("first_p95", "p95"),
    ("total_p50", "total p50"),
    ("total_p95", "p95"),
    ("cpu_self", "cpu self"),
    ("cpu_codex", "cpu codex"),
    ("busy", "busy"),
    ("mb_self", "MB self"),
    ("mb_codex", "MB codex"),
    ("fds_self", "fds self"),
)
_FLOOD_COLUMNS = (
    ("deltas_s", "deltas/s"),
    ("total_p50", "total p50"),
    ("us_self", "µs self"),
    ("us_codex", "µs codex"),
)
_LOOP_COLUMNS = (
    ("cached_share", "cached"),
    ("told_share", "told"),
    ("rounds_s", "rounds/s"),
    ("first_p50", "first p50"),
    ("first_p95", "p95"),
    ("total_p50", "total p50"),
    ("cpu_self", "cpu self"),
    ("cpu_codex", "cpu codex"),
    ("kb_received", "KB up"),
    ("kb_sent", "KB down"),
    ("mb_codex", "MB codex"),
)
_SHARES = {"busy", "cached_share", "told_share"}
_QUIET = 0.1

HOW_TO_READ = """\
Times in ms; first = from the request (direct: from calling thread/start) to the first text; total = to the end.
self = the gateway's worker process, or the client itself; codex = its child. cpu = CPU ms for each answer, µs = CPU for
each delta. busy = what self and codex used of all cores. MB and fds = the most seen, resident memory and descriptors.
cached = cached of all input tokens, as the upstream's model of OpenAI's prompt cache says; told = the same, as the
answers say it; KB up and down = what the upstream received and sent, for each round.
Ratios are to the cold side, of the medians: 1.00 would be the same.
"added first token" = difference of the medians, then that of neighbouring rounds; target at 1 client: at most 2 ms.
Everything shares this machine's cores: where they are all busy, a time is a queue, and req/s is the figure to read."""


def text(result: dict[str, Any]) -> str:
    """Return the whole text."""
    facts = result["machine"]
    head = (
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['python']}, "
        f"codex {facts['codex']}, load {facts['load_before']}"
    )
    lines = [head, _conditions(result["options"])]
    if result["cells"]:
        lines += ["", _heading("questions", _COLUMNS)]
    for name, found in result["cells"].items():
        lines += [*_rows(name, found, _COLUMNS), *_added(found), *_aims(found)]
    if result["flood"]:
        lines += ["", _heading("one stream", _FLOOD_COLUMNS)]
        lines += _rows(f"{result['options']['flood']} deltas", result["flood"], _FLOOD_COLUMNS)
    if result["loops"]:
        lines += ["", _heading("agent loops", _LOOP_COLUMNS)]
    for name, found in result["loops"].items():
        lines += [*_rows(name, found, _LOOP_COLUMNS), *_aims(found)]
    return "\n".join([*lines, "", _verdict(result), _quiet_line(result), "", HOW_TO_READ])


def every_cell(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all cells of a result, whatever they measure."""
    flood = [result["flood"]] if result["flood"] else []
    return [*result["cells"].values(), *flood, *result["loops"].values()]


def _conditions(options: dict[str, Any]) -> str:
    way = "over TLS and a round trip of 30 ms" if options["relay"] else "over loopback"
    way += ", by WebSocket" if options["websockets"] else ""
    return (
        f"Upstream {way}; {options['deltas']} deltas an answer; {options['rounds']} rounds a side in turns, of "
        f"{options['requests']} requests or {options['requests_a_client']} a client; loops of {options['loop_rounds']} "
        f"calls with results of {options['result_chars']} characters, {options['loop_repeats']} times a side"
    )


def _heading(first: str, columns: Sequence[tuple[str, str]]) -> str:
    return f"{first:<16}{'':<14}" + "".join(f"{title:>10}" for _, title in columns)


def _rows(name: str, found: dict[str, Any], columns: Sequence[tuple[str, str]]) -> Iterator[str]:
    for side, figures in found["sides"].items():
        cells = [_number(key, figures.get(key)) for key, _ in columns]
        yield f"{name:<16}{side:<14}" + "".join(f"{cell:>10}" for cell in cells)
        name = ""
    for side, figures in found["ratios"].items():
        cells = [f"{figures[key]:.2f}" if key in figures else "-" for key, _ in columns]
        yield f"{'':<16}{side + '/' + FLOOR:<14}" + "".join(f"{cell:>10}" for cell in cells)


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key in _SHARES:
        return f"{value:.1%}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"  # noqa: PLR2004 - readable widths


def _added(found: dict[str, Any]) -> Iterator[str]:
    for side, added in found["added_first_ms"].items():
        middle, low, high = quartiles(added["by_round"])
        yield (
            f"{'':<16}{side} adds {added['of_medians']:+.1f} ms to {FLOOR}'s first token (round by round: "
            f"{middle:+.1f}, half of them from {low:+.1f} to {high:+.1f})"
        )


def _aims(found: dict[str, Any]) -> Iterator[str]:
    for aim in found.get("aims", ()):
        met = "pass" if aim["met"] else "FAIL"
        bound = f"at least {aim['least']:g}" if "least" in aim else f"at most {aim['most']:g}"
        yield f"{'':<16}{met}: {aim['name']}: {aim['value']:.2f}, {bound}"


def _quiet_line(result: dict[str, Any]) -> str:
    most = max((found["elsewhere_share"] for found in every_cell(result)), default=0.0)
    note = "" if most < _QUIET else " Not quiet: believe the ratios more than the times."
    return f"Other processes used up to {most:.0%} of the machine meanwhile.{note}"


def _verdict(result: dict[str, Any]) -> str:
    cells = every_cell(result)
    answers = sum(sum(found["answers"].values()) for found in cells)
    wrong = sum(sum(found["wrong"].values()) for found in cells)
    if not wrong:
        return f"All {answers} answers were complete and right."
    examples = "; ".join(said for found in cells for said in found["examples"][:2])
    return f"WRONG ANSWERS: {wrong} beside {answers} right ones ({examples}). The figures mean nothing."
