"""Report of `codex parity`: lines for a terminal, a page without scripts, and JSON.

What the two sides said is quoted in it, so it is made one short line without control characters and keys, and escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from app.cli.output import columns
from app.cli.parity_compare import Found, Outcome
from app.cli.parity_load import Load
from app.cli.parity_values import Kind
from app.scrub import MOST, one_line

_SHOWN = 100
_DIRECTIONS = dict.fromkeys(
    [*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
"""Characters that turn the direction of what follows."""
_NOTES = (
    "Ids, times and fingerprints only have to be there; codex_metadata is not compared. Latency is shown, not judged.",
)
_NO_WORDS = (
    "Models answer in other words each time. What texts say, the values in calls and JSON, how many tokens were "
    "written and how many pieces came were not compared (--words, for upstreams that answer every time alike). Whether "
    "a model reasons, calls or refuses may also change: RUNS says in how many of the runs a difference was there."
)
_NO_UPSTREAM = "What the upstream was sent was not compared (--upstream-a, --upstream-b)."
_LEFT_OUT = (
    "{} conversations in which the upstream refuses or fails were left out: only scripted upstreams can be asked for "
    "that. A file of your own can have a prompt that your upstream refuses."
)
_STYLE = (
    "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left;vertical-align:top}"
    "code{white-space:pre-wrap;overflow-wrap:anywhere}"
)
_DIFFERENCES = ("CONVERSATION", "STEP", "KIND", "PLACE", "RUNS", "A", "B")
_LOAD = ("SIDE", "ANSWERS/S", "MEDIAN", "P95", "FAILED")
_LATENCY = ("CONVERSATION", "FIRST A", "FIRST B", "TOTAL A", "TOTAL B", "B / A")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found. `a` and `b` are the two addresses; `repeat` is the number of runs.

    `left_out` conversations need upstreams that can be told what to say. `load`: None if none was asked for.
    """

    a: str
    b: str
    model: str
    repeat: int
    words: bool
    upstream: bool
    outcomes: Sequence[Outcome]
    left_out: int = 0
    load: Load | None = None

    @property
    def found(self) -> list[Found]:
        """Every difference, in the order of the conversations."""
        return [found for outcome in self.outcomes for found in outcome.found]

    @property
    def not_compared(self) -> dict[str, str]:
        """Conversations that neither side answered, and why."""
        return {each.conversation: each.not_compared for each in self.outcomes if each.not_compared}

    @property
    def verdict(self) -> str:
        """The last line."""
        tried = f"{len(self.outcomes)} conversations"
        if self.found:
            where = len({found.conversation for found in self.found})
            return f"DIFFERENT: {len(self.found)} in {where} of {tried}."
        if self.not_compared:
            return f"COULD NOT RUN: {len(self.not_compared)} of {tried}; the others are alike."
        return f"Alike: {tried}."

    @property
    def notes(self) -> list[str]:
        """What the comparison does not say."""
        return [
            *([] if self.words else [_NO_WORDS]),
            *([] if self.upstream else [_NO_UPSTREAM]),
            *([_LEFT_OUT.format(self.left_out)] if self.left_out else []),
            *_NOTES,
        ]


def lines(report: Report) -> list[str]:
    """Return the report as a person reads it in a terminal."""
    head = [
        f"A  {report.a}",
        f"B  {report.b}",
        f"model {_quoted(report.model)}, runs {report.repeat}",
        "",
    ]
    rows = [*_rows(report.found, report.repeat, _SHOWN)]
    table = [*columns([_DIFFERENCES, *rows]), ""] if rows else []
    missing = [f"{name}: not compared: {_quoted(why)}" for name, why in report.not_compared.items()]
    times = [*columns([_LATENCY, *_times(report.outcomes)]), "(ms, medians)", ""]
    load = (
        [*columns([_LOAD, *_load(report.load)]), _words_of(report.load), ""] if report.load else []
    )
    return [*head, *table, *missing, *times, *load, *report.notes, "", report.verdict]


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for a script."""
    return {
        "alike": not report.found and not report.not_compared,
        "a": report.a,
        "b": report.b,
        "model": _quoted(report.model),
        "repeat": report.repeat,
        "differences": [
            {
                "conversation": found.conversation,
                "step": found.step,
                "kind": found.difference.kind.value,
                "place": _quoted(found.difference.place),
                "runs": found.runs,
                "a": _quoted(found.difference.a),
                "b": _quoted(found.difference.b),
            }
            for found in report.found
        ],
        "latency": [
            {
                "conversation": each.conversation,
                "first_ms": each.first_ms,
                "total_ms": each.total_ms,
            }
            for each in report.outcomes
        ],
        "load": _load_data(report.load) if report.load else None,
        "not_compared": {name: _quoted(why) for name, why in report.not_compared.items()},
        "notes": report.notes,
    }


def as_html(report: Report) -> str:
    """Return the report as a page that stands alone: no scripts, and nothing is loaded."""
    rows = [*_rows(report.found, report.repeat)]
    missing = [
        f"{name} was not compared: {_quoted(why)}" for name, why in report.not_compared.items()
    ]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Parity</title>',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(report.verdict)}</h1>",
        f"<p>A: {escape(report.a)}<br>B: {escape(report.b)}</p>",
        f"<p>model {escape(_quoted(report.model))}, runs {report.repeat}</p>",
        *(_table(_DIFFERENCES, rows) if rows else ()),
        *(f"<p>{escape(line)}</p>" for line in missing),
        "<h2>Latency (ms, medians)</h2>",
        *_table(_LATENCY, _times(report.outcomes)),
        *(_load_page(report.load) if report.load else ()),
        *(f"<p>{escape(note)}</p>" for note in report.notes),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _rows(found: Iterable[Found], repeat: int, most: int = MOST) -> Iterator[tuple[str, ...]]:
    for each in found:
        said = each.difference
        yield (
            each.conversation,
            str(each.step),
            said.kind.value,
            _quoted(said.place),
            f"{each.runs}/{repeat}",
            _quoted(said.a, most),
            _quoted(said.b, most),
        )


def _times(outcomes: Iterable[Outcome]) -> Iterator[tuple[str, ...]]:
    for each in outcomes:
        (first_a, first_b), (a, b) = each.first_ms, each.total_ms
        is_same_work = not any(found.difference.kind is Kind.STATUS for found in each.found)
        ratio = f"{b / a:.2f}" if a and b and is_same_work else ""
        yield (each.conversation, *(f"{ms:.0f}" for ms in (first_a, first_b, a, b)), ratio)


def _load(load: Load) -> Iterator[tuple[str, ...]]:
    for name, side in (("A", load.a), ("B", load.b)):
        times = (f"{ms:.0f}" for ms in (side.median_ms, side.p95_ms))
        yield (name, f"{side.per_s:.1f}", *times, str(side.failed))


def _load_data(load: Load) -> dict[str, Any]:
    return {**asdict(load.plan), "a": asdict(load.a), "b": asdict(load.b)}


def _words_of(load: Load) -> str:
    plan = load.plan
    pause = f", {plan.pause_s * 1000:g} ms before each" if plan.pause_s else ""
    asked = f"({plan.clients} clients, {plan.requests} requests a side{pause}; ms)"
    if not load.a.per_s or not load.b.per_s:
        return asked
    latency, answers = load.b.median_ms / load.a.median_ms, load.b.per_s / load.a.per_s
    return f"{asked[:-1]}; B / A: median {latency:.2f}, answers {answers:.2f})"


def _load_page(load: Load) -> Iterator[str]:
    yield "<h2>Load</h2>"
    yield from _table(_LOAD, _load(load))
    yield f"<p>{escape(_words_of(load))}</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td><code>{escape(cell)}</code></td>" for cell in row) + "</tr>"
    yield "</table>"


def _quoted(text: str, most: int = MOST) -> str:
    """Return what a side said as one line, without secrets and without what could change how it is shown."""
    return one_line(text.translate(_DIRECTIONS), most)
