"""The promises of a storm and whether they held: one row each, printed at the end of the run and asserted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN_PROBLEMS = 5


@dataclass(slots=True)
class Row:
    """One promise, or with `count` alone one figure. `problems` are sentences; none means that it held."""

    name: str
    count: str
    problems: list[str] = field(default_factory=list)
    is_figure: bool = False

    @property
    def outcome(self) -> str:
        if self.is_figure:
            return ""
        return f"broken {len(self.problems)} times" if self.problems else "ok"


@dataclass(slots=True)
class Ledger:
    """A table with a title."""

    title: str
    rows: list[Row] = field(default_factory=list)

    def promise(self, name: str, count: object, problems: Iterable[str] = ()) -> None:
        """Add a promise that was looked at `count` times."""
        self.rows.append(Row(name, str(count), list(problems)))

    def within(self, name: str, value: float, bound: float, unit: str = "") -> None:
        """Add a promise that a figure stays within a bound."""
        shown = f"{value:.6g} of {bound:.6g} {unit}".strip()
        self.rows.append(Row(name, shown, [] if value <= bound else [f"{name}: {shown}"]))

    def figure(self, name: str, value: object) -> None:
        """Add what is only worth knowing."""
        self.rows.append(Row(name, str(value), is_figure=True))

    def problems(self) -> list[str]:
        """Return the first problems of every promise that is broken, and how many more there are."""
        found: list[str] = []
        for row in self.rows:
            found += [f"{row.name}: {problem}" for problem in row.problems[:SHOWN_PROBLEMS]]
            if len(row.problems) > SHOWN_PROBLEMS:
                found.append(f"{row.name}: and {len(row.problems) - SHOWN_PROBLEMS} more")
        return found

    def rendered(self) -> str:
        """Return the table as text."""
        names = max(len(row.name) for row in self.rows)
        counts = max(len(row.count) for row in self.rows)
        lines = [f"{row.name:<{names}}  {row.count:>{counts}}  {row.outcome}" for row in self.rows]
        return "\n".join([self.title, *(line.rstrip() for line in lines)])
