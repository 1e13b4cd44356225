"""Plots of a result, as PNG and SVG: what clients wait for, what answers cost, how both grow with a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.points import Lines, by_pace, by_round, lines, with_share
from bench.processes import StartError

try:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
except ImportError:
    raise StartError("--plots needs matplotlib: run it with `make bench`.") from None

_COLOURS = {
    "gateway": "#0072b2",
    "cold": "#7f7f7f",
    "warm": "#e69f00",
    "kept": "#009e73",
    "exec": "#cc79a7",
    "chatmock": "#d55e00",
    "litellm": "#56b4e9",
}
_NO_DATE: Mapping[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}}
_PANEL_INCHES = 4.2
_DOTS_PER_INCH = 110
_QUESTIONS = (
    ("first_p50", "first token, ms, median"),
    ("req_s", "answers a second"),
    ("cpu_codex", "CPU of the child, ms an answer"),
)
_CURVES = (
    ("first_ms", "first token, ms"),
    ("cpu_ms", "CPU of the child, ms"),
    ("cached_share", "cached share of the input"),
)
_LOOPS = (
    ("cached_share", "cached share of the input"),
    ("cpu_codex", "CPU of the child, ms a round"),
)


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every plot for which there are figures; return the files. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for pace, cells in by_pace(result["cells"]).items():
        panels = [(title, lines(cells, key)) for key, title in _QUESTIONS]
        written += _write(_lined(panels, "clients", log=True), folder / f"questions-{pace}")
    for name, found in result["loops"].items():
        if found["curves"]:
            curves = {side: with_share(curve) for side, curve in found["curves"].items()}
            panels = [(title, by_round(curves, key)) for key, title in _CURVES]
            plot = _lined(panels, "round", log=False)
            written += _write(plot, folder / f"loop-{name.replace(', ', '-')}")
    if result["loops"]:
        written += _write(_barred(result["loops"]), folder / "loops")
    return written


def _lined(panels: Sequence[tuple[str, Lines]], below: str, *, log: bool) -> Figure:
    figure = _figure(len(panels))
    for place, (title, sides) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        for side, points in sides.items():
            if points:
                axes.plot(*zip(*points, strict=True), "o-", ms=3, label=side, color=_COLOURS[side])
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(below)
        if log:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    return figure


def _barred(loops: Mapping[str, Any]) -> Figure:
    figure = _figure(len(_LOOPS))
    sides = list(dict.fromkeys(side for cell in loops.values() for side in cell["sides"]))
    width = 0.8 / len(sides)
    for place, (key, title) in enumerate(_LOOPS, 1):
        axes = figure.add_subplot(1, len(_LOOPS), place)
        for number, side in enumerate(sides):
            at = [start + number * width for start in range(len(loops))]
            heights = [cell["sides"].get(side, {}).get(key, 0.0) for cell in loops.values()]
            axes.bar(at, heights, width, label=side, color=_COLOURS[side])
        middle = [start + width * (len(sides) - 1) / 2 for start in range(len(loops))]
        axes.set_xticks(middle, list(loops), fontsize=7)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="y", alpha=0.3)
    # Beside the bars: the highest reach the top.
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=8, loc="outside right upper")
    return figure


def _figure(panels: int) -> Figure:
    return Figure(figsize=(_PANEL_INCHES * panels, _PANEL_INCHES * 0.8), layout="constrained")


def _write(figure: Figure, path: Path) -> list[Path]:
    files = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": path.name}
    ):  # the same figures, the same file
        for file in files:
            figure.savefig(file, dpi=_DOTS_PER_INCH, metadata=_NO_DATE[file.suffix])
    return files
