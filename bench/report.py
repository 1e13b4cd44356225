"""The result as a table for people; the JSON form has the same figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import Series, added_first_ms, percentile

_COLUMNS = (
    ("req_s", "req/s"),
    ("first_p50", "first p50"),
    ("first_p95", "p95"),
    ("total_p50", "total p50"),
    ("total_p95", "p95"),
    ("cpu_self", "cpu self"),
    ("cpu_codex", "cpu codex"),
    ("cpu_load", "cpu load"),
)
_FLOOD_COLUMNS = (
    ("deltas_s", "deltas/s"),
    ("total_p50", "total p50"),
    ("us_self", "µs self"),
    ("us_codex", "µs codex"),
    ("us_load", "µs load"),
)

_QUIET = 0.1

HOW_TO_READ = """\
Times in ms; first = from the request (direct: from calling thread/start) to the first text; total = to the end.
self = the gateway's worker process, or the direct client itself; codex = its child; load = the HTTP load generator.
cpu = CPU ms for each request, µs = CPU for each delta. ratio = gateway / direct, of the medians: 1.00 would be free.
"added first token" = difference of the medians, then that of neighbouring rounds; target at c=1: at most 2 ms.
Everything shares this machine's cores: where they are all busy, a time is a queue, and req/s is the figure to read."""


def machine(user_agent: str) -> dict[str, Any]:
    """Return the facts without which no figure means anything."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "codex": user_agent.partition(" ")[0].rpartition("/")[2] or user_agent,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def cell(gateway: Series, direct: Series) -> dict[str, Any]:
    """Return one cell's figures: both sides, their ratios, and the added time to the first token."""
    ours, theirs = gateway.figures(), direct.figures()
    added = added_first_ms(gateway, direct)
    return {
        "gateway": ours,
        "direct": theirs,
        "ratio": {name: ours[name] / theirs[name] for name in ours if theirs.get(name)},
        "added_first_ms": {
            "of_medians": ours["first_p50"] - theirs["first_p50"],
            "by_round": added,
        },
        "answers": {"gateway": len(gateway.total_ms), "direct": len(direct.total_ms)},
        "wrong": {"gateway": gateway.wrong, "direct": direct.wrong},
        "elsewhere_share": _elsewhere(gateway, direct),
        "examples": [
            text for side in (gateway, direct) for r in side.rounds for text in r.examples
        ],
    }


def _elsewhere(*sides: Series) -> float:
    """Return the share of the machine's CPU time that was used by processes which are none of ours."""
    span_s = sum(report.wall_s for side in sides for report in side.rounds)
    spent = sum(side.cpu.get("elsewhere", 0.0) for side in sides)
    return max(0.0, spent / 1000 / span_s / len(os.sched_getaffinity(0)))


def flood_cell(gateway: Series, direct: Series, deltas: int) -> dict[str, Any]:
    """Return the cell of the long streams: as `cell`, with figures for each delta."""
    found = cell(gateway, direct)
    for side, series in (("gateway", gateway), ("direct", direct)):
        figures = found[side]
        figures["deltas_s"] = deltas / percentile(series.total_ms, 0.5) * 1000
        figures |= {
            f"us_{name[4:]}": ms * 1000 / deltas
            for name, ms in figures.items()
            if name.startswith("cpu_")
        }
    theirs = found["direct"]
    found["ratio"] = {
        name: value / theirs[name] for name, value in found["gateway"].items() if theirs.get(name)
    }
    return found


def table(result: dict[str, Any]) -> str:
    """Return the whole text."""
    facts = result["machine"]
    lines = [
        "{cpu}, {cores} cores, Linux {kernel}, Python {python}, codex {codex}, load {load_before}".format(
            **facts
        ),
        _script_line(result["options"]),
        "",
        _heading("cell", _COLUMNS),
    ]
    for name, found in result["cells"].items():
        lines += _rows(f"c={name}", found, _COLUMNS)
        lines.append(_added_line(found["added_first_ms"]))
    lines += ["", _heading("one stream", _FLOOD_COLUMNS)]
    lines += _rows(f"{result['options']['flood']} deltas", result["flood"], _FLOOD_COLUMNS)
    return "\n".join([*lines, "", _verdict(result), _quiet_line(result), "", HOW_TO_READ])


def _script_line(options: dict[str, Any]) -> str:
    pace = f"one every {options['interval_ms']:g} ms" if options["interval_ms"] else "unpaced"
    return (
        f"{options['deltas']} deltas an answer, {pace}; {options['rounds']} rounds a side, alternating, "
        f"of {options['requests']} requests or {options['requests_a_client']} a client; a cold thread for every request"
    )


def _heading(first: str, columns: Sequence[tuple[str, str]]) -> str:
    return f"{first:<14}{'':<9}" + "".join(f"{title:>11}" for _, title in columns)


def _rows(name: str, found: dict[str, Any], columns: Sequence[tuple[str, str]]) -> list[str]:
    rows = []
    for side in ("gateway", "direct", "ratio"):
        cells = [_number(found[side].get(key), ratio=side == "ratio") for key, _ in columns]
        rows.append(f"{name:<14}{side:<9}" + "".join(f"{text:>11}" for text in cells))
        name = ""
    return rows


def _number(value: float | None, *, ratio: bool) -> str:
    if value is None:
        return "-"
    if ratio:
        return f"{value:.2f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"  # noqa: PLR2004 - readable widths


def _added_line(added: dict[str, Any]) -> str:
    rounds = added["by_round"] or [float("nan")]
    return (
        f"{'':<14}added first token {added['of_medians']:+.1f} ms (round by round: "
        f"{median(rounds):+.1f}, half of them from {percentile(rounds, 0.25):+.1f} "
        f"to {percentile(rounds, 0.75):+.1f})"
    )


def _quiet_line(result: dict[str, Any]) -> str:
    shares = [found["elsewhere_share"] for found in (*result["cells"].values(), result["flood"])]
    note = "" if max(shares) < _QUIET else " Not quiet: believe the ratios more than the times."
    return f"Other processes used up to {max(shares):.0%} of the machine meanwhile.{note}"


def _verdict(result: dict[str, Any]) -> str:
    cells = [*result["cells"].values(), result["flood"]]
    answers = sum(sum(found["answers"].values()) for found in cells)
    wrong = sum(sum(found["wrong"].values()) for found in cells)
    if not wrong:
        return f"All {answers} answers were complete and right."
    examples = "; ".join(text for found in cells for text in found["examples"][:2])
    return f"WRONG ANSWERS: {wrong} beside {answers} right ones ({examples}). The figures mean nothing."
