"""Diagram of the architecture as an SVG, out of a table of boxes and one of arrows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from scripts.pictures import palette

WIDTH, HEIGHT = 900, 384


@dataclass(frozen=True, slots=True)
class Box:
    """A part: its place, its name, and what it does in short lines. A frame has other boxes in it."""

    x: int
    y: int
    width: int
    height: int
    name: str
    lines: Sequence[str] = ()
    kind: str = "part"

    def side(self, name: str) -> tuple[int, int]:
        """Return the middle of a side: left, right, top or bottom; foot is the bottom's left part."""
        across = {"left": 0, "right": self.width, "foot": 28}.get(name, self.width // 2)
        down = {"top": 0, "bottom": self.height, "foot": self.height}.get(name, self.height // 2)
        return self.x + across, self.y + down


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow from a side of one box to a side of another, `key.side`, perhaps over corners."""

    start: str
    end: str
    label: str = ""
    label_at: tuple[int, int] = (0, 0)
    via: Sequence[tuple[int, int]] = ()
    kind: str = ""


BOXES = {
    "master": Box(136, 14, 534, 356, "gunicorn master: holds the socket, reloads", kind="frame"),
    "worker": Box(150, 46, 506, 310, "one gevent worker", kind="frame"),
    "clients": Box(10, 100, 84, 96, "clients", ["SDKs,", "agents, curl,", "browsers"]),
    "http": Box(164, 100, 108, 96, "Flask", ["keys, bodies,", "checks, plans;", "SSE frames"]),
    "admission": Box(294, 100, 108, 96, "admission", ["slots, a fair", "share for", "each key"]),
    "turns": Box(424, 100, 108, 96, "turns", ["a thread each,", "one bounded", "queue each"]),
    "rpc": Box(554, 100, 92, 96, "pipe", ["lines behind", "a lock, one", "writer"]),
    "metrics": Box(164, 236, 108, 74, "metrics", ["logs, traces,", "Prometheus"], "side"),
    "store": Box(294, 236, 108, 74, "store", ["responses,", "SQLite or Redis"], "side"),
    "per_request": Box(424, 236, 108, 74, "per request", ["or a child for", "each turn"], "side"),
    "supervisor": Box(554, 236, 92, 74, "supervisor", ["backoff,", "deadlines"], "side"),
    "child": Box(746, 100, 144, 96, "codex app-server", ["one child", "for all turns"], "child"),
    "upstream": Box(746, 296, 144, 74, "upstream", ["OpenAI, or any", "Responses API"]),
}

ARROWS = (
    Arrow("clients.right", "http.left", "HTTP", (115, 138)),
    Arrow("http.right", "admission.left"),
    Arrow("admission.right", "turns.left"),
    Arrow("turns.right", "rpc.left"),
    Arrow("rpc.right", "child.left", "JSON-RPC", (709, 139), kind="both"),
    Arrow("child.bottom", "upstream.top", "HTTPS", (845, 250)),
    Arrow("http.bottom", "metrics.top", kind="dashed"),
    Arrow("http.bottom", "store.top", via=((218, 216), (348, 216)), kind="dashed"),
    Arrow("turns.bottom", "per_request.top", kind="dashed"),
    Arrow("supervisor.right", "child.foot", "keeps alive", (709, 264), ((774, 273),)),
    Arrow("per_request.bottom", "upstream.left", via=((478, 333),), kind="dashed"),
)

STYLE = """
text{font:12px system-ui,-apple-system,'DejaVu Sans',sans-serif;fill:var(--soft);text-anchor:middle}
.name{font-weight:600;font-size:13px;fill:var(--ink)}
.frame{text-anchor:start;fill:var(--soft);font-weight:600}
rect{fill:var(--ground);stroke:var(--line);rx:7px}
rect.frame{fill:var(--raised)}
rect.inner{fill:var(--ground)}
rect.part{fill:var(--raised);stroke:var(--ink)}
rect.side{fill:var(--raised);stroke:var(--line);stroke-dasharray:4 3}
rect.child{fill:var(--raised);stroke:var(--accent);stroke-width:2.5}
path{fill:none;stroke:var(--accent);stroke-width:1.8}
.dashed{stroke:var(--line);stroke-dasharray:4 3}
marker path{fill:var(--accent);stroke:none}
"""


def drawn(page_css: str) -> str:
    """Return the whole picture in a page's colours."""
    parts = [_box(key, box) for key, box in BOXES.items()] + [_arrow(arrow) for arrow in ARROWS]
    title = "How the gateway is built: " + ", ".join(box.name for box in BOXES.values())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">\n<title>{escape(title)}</title>\n'
        f"<style>{palette.style(page_css)}{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>\n'
        f'<rect style="stroke:none;rx:0" width="{WIDTH}" height="{HEIGHT}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _box(key: str, box: Box) -> str:
    kind = "frame inner" if key == "worker" else box.kind
    place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
    rect = f'<rect class="{kind}" {place}/>'
    if box.kind == "frame":
        return f'{rect}<text class="frame" x="{box.x + 14}" y="{box.y + 22}">{box.name}</text>'
    middle = box.x + box.width // 2
    top = box.y + box.height // 2 - 8 * len(box.lines) + 4
    lines = [f'<text class="name" x="{middle}" y="{top}">{escape(box.name)}</text>']
    for number, line in enumerate(box.lines, 1):
        lines.append(f'<text x="{middle}" y="{top + 2 + 16 * number}">{escape(line)}</text>')
    return rect + "".join(lines)


def _arrow(arrow: Arrow) -> str:
    points = [_end(arrow.start), *arrow.via, _end(arrow.end)]
    line = "M" + " ".join(f"{x} {y}" for x, y in points)
    both = ' marker-start="url(#head)"' if arrow.kind == "both" else ""
    path = f'<path class="{arrow.kind}" d="{line}" marker-end="url(#head)"{both}/>'
    if not arrow.label:
        return path
    x, y = arrow.label_at
    return f'{path}<text x="{x}" y="{y}">{escape(arrow.label)}</text>'


def _end(name: str) -> tuple[int, int]:
    key, side = name.split(".")
    return BOXES[key].side(side)
