"""Recording of terminals as an animated SVG, out of what was written there and when. Pure.

Pauses are cut to a second, keys are masked, and of the frames of a stream what is the same in all of them is left out;
nothing else is changed. A reader who wants no motion sees the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from scripts.pictures import palette

COLUMNS = 112
_CELL, _LINE, _SIZE, _MARGIN, _HEAD = 7.25, 17, 12, 12, 26
_LONGEST_PAUSE_S = 1.0
_TOGETHER_S = 0.05
_END_S = 5.0

_MANNER = re.compile(r"\x1b\[([0-9;]*)m")
_MANNERS = {"2": "soft", "33": "wait"}
"""How terminals are told to write, and what that is here."""

_KEY = re.compile(r"sk-local-[\w-]+")
_SAME_IN_EACH = re.compile(r'^data: \{"id":.*?"choices"')


@dataclass(frozen=True, slots=True)
class Written:
    """Text that came at once, at a time in seconds."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Pane:
    """A terminal in the picture: so many rows are seen of what was written."""

    title: str
    rows: int
    written: Sequence[Written]


@dataclass(frozen=True, slots=True)
class _Piece:
    at: float
    row: int
    column: int
    text: str
    kind: str = ""


def drawn(panes: Sequence[Pane], page_css: str) -> str:
    """Return the whole picture in a page's colours."""
    in_rows = [list(_pieces(pane.written)) for pane in panes]
    times = _shortened({piece.at for pieces in in_rows for piece in pieces})
    whole = max(times.values()) + _END_S
    parts, rules, top = [], [], 0
    for number, (pane, pieces) in enumerate(zip(panes, in_rows, strict=True)):
        stops = _stops(pane, pieces, times)
        parts.append(_pane(pane, _texts(pieces, times), f"pane{number}", max(stops.values()), top))
        rules.append(_scrolling(number, stops, whole))
        top += _height(pane)
    rules += [
        f"@keyframes {_name(at)}{{0%{{visibility:hidden}}{_percent(at, whole)}{{visibility:visible}}}}"
        f".{_name(at)}{{animation-name:{_name(at)}}}"
        for at in sorted(set(times.values()))
    ]
    width = round(COLUMNS * _CELL + 2 * _MARGIN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" '
        f'height="{top}" role="img">\n<title>The first minute in two terminals: '
        f"{escape(', '.join(pane.title for pane in panes))}</title>\n<style>\n"
        f"{palette.style(page_css)}\n{_STYLE}"
        "@media (prefers-reduced-motion:no-preference){\n"
        f"text,g{{animation:{whole:.2f}s step-end infinite}}\n"
        + "\n".join(rules)
        + "\n}\n</style>\n"
        f'<rect width="{width}" height="{top}" fill="var(--ground)"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


_STYLE = f"""text{{font:{_SIZE}px {palette.FONT};fill:var(--ink);white-space:pre}}
.typed{{fill:var(--accent);font-weight:600}}
.soft{{fill:var(--soft)}}
.wait{{fill:var(--wait)}}
.title{{fill:var(--soft);font-family:system-ui,-apple-system,'DejaVu Sans',sans-serif;font-weight:600}}
"""


def _pieces(written: Iterable[Written]) -> Iterable[_Piece]:
    """Put what was written into rows: a line that is too long goes on in the next one."""
    row = 0
    for line in _lines(written):
        column = 0
        for part in line:
            for kind, text in _in_manners(part.text):
                left = text
                while left:
                    if column == COLUMNS:
                        row, column = row + 1, 0
                    now, left = left[: COLUMNS - column], left[COLUMNS - column :]
                    yield _Piece(part.at, row, column, now, kind)
                    column += len(now)
        row += 1


def _in_manners(text: str) -> Iterable[tuple[str, str]]:
    kind = {"$ ": "typed", "> ": "typed", "da": "soft"}.get(text[:2], "")
    for number, part in enumerate(_MANNER.split(text)):
        if number % 2:
            kind = _MANNERS.get(part, "")
        elif part:
            yield kind, part


def _lines(written: Iterable[Written]) -> Iterable[list[Written]]:
    """Return the lines as they came, in parts; not those without a word between the frames of a stream."""
    line: list[Written] = []
    is_frame = False
    for came in written:
        *whole, rest = came.text.replace("\r", "").split("\n")
        for text in whole:
            line.append(Written(came.at, text))
            if text or len(line) > 1 or not is_frame:
                yield _finished(line)
            is_frame = line[0].text.startswith("data: {")
            line = []
        if rest and line and came.at - line[-1].at < _TOGETHER_S:
            line[-1] = Written(line[-1].at, line[-1].text + rest)
        elif rest:
            line.append(Written(came.at, rest))
    yield _finished(line)


def _finished(line: list[Written]) -> list[Written]:
    """Mask keys, and shorten a frame, which then comes at once."""
    text = "".join(part.text for part in line)
    if not (text.startswith("data: ") or _KEY.search(text)):
        return line
    return [
        Written(line[-1].at, _SAME_IN_EACH.sub('data: {…"choices"', _KEY.sub("sk-local-…", text)))
    ]


def _shortened(moments: set[float]) -> dict[float, float]:
    """Return each moment's time in the recording."""
    times: dict[float, float] = {}
    before, now = min(moments), 0.3
    for moment in sorted(moments):
        now += min(moment - before, _LONGEST_PAUSE_S)
        before = moment
        times[moment] = round(now, 2)
    return times


def _texts(pieces: Iterable[_Piece], times: dict[float, float]) -> str:
    return "".join(
        f'<text class="{f"{piece.kind} {_name(times[piece.at])}".strip()}" '
        f'x="{_x(piece)}" y="{_LINE * piece.row + _SIZE + 1}" '
        f'textLength="{len(piece.text.strip()) * _CELL:.4g}">{escape(piece.text.strip())}</text>\n'
        for piece in pieces
        if piece.text.strip()
    )


def _pane(pane: Pane, texts: str, name: str, scrolled: int, top: int) -> str:
    return (
        f'<rect y="{top}" width="100%" height="{_HEAD - 4}" fill="var(--raised)"/>'
        f'<text class="title" x="{_MARGIN}" y="{top + 15}">{escape(pane.title)}</text>'
        f'<svg y="{top + _HEAD}" width="100%" height="{_LINE * pane.rows}" overflow="hidden">'
        f'<g id="{name}" transform="translate(0 {-_LINE * scrolled})">\n{texts}</g></svg>'
    )


def _x(piece: _Piece) -> str:
    indent = len(piece.text) - len(piece.text.lstrip())
    return f"{_MARGIN + (piece.column + indent) * _CELL:.4g}"


def _stops(pane: Pane, pieces: Iterable[_Piece], times: dict[float, float]) -> dict[float, int]:
    """Return by how many rows the pane is scrolled from which time on: the last row is always in sight."""
    stops = {0.0: 0}
    for piece in sorted(pieces, key=lambda piece: piece.at):
        stops[times[piece.at]] = max(*stops.values(), 0, piece.row + 1 - pane.rows)
    return stops


def _scrolling(number: int, stops: dict[float, int], whole: float) -> str:
    way = "".join(
        f"{_percent(at, whole)}{{transform:translateY({-_LINE * rows}px)}}"
        for at, rows in stops.items()
    )
    return f"@keyframes pane{number}{{{way}}}#pane{number}{{animation-name:pane{number}}}"


def _height(pane: Pane) -> int:
    return _HEAD + _LINE * pane.rows + 8


def _name(at: float) -> str:
    return f"t{round(at * 100)}"


def _percent(at: float, whole: float) -> str:
    return f"{100 * at / whole:.4g}%"
