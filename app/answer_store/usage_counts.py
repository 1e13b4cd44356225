"""Usage by day, key and model: counts that are added up, in a bounded number of rows. Pure.

A day is UTC, as `2026-11-30`. A key is its name, never the key itself. Rows of a day beyond `MOST_ROWS_A_DAY` become
one, `OTHER`, so that no number of names can fill a disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import NamedTuple

OTHER = "other"
MOST_ROWS_A_DAY = 1000
MOST_ROWS_READ = 50_000
"""Rows of one question: more would take the loop's time from everybody."""


class Counts(NamedTuple):
    """Counts of one row. `cached_tokens` are some of the input's, `reasoning_tokens` some of the output's."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def plus(self, other: Counts) -> Counts:
        """Return the sum of both."""
        return Counts(*map(int.__add__, self, other))


class RowName(NamedTuple):
    """Name of a row."""

    day: str
    key: str
    model: str


UsageRows = Mapping[RowName, Counts]


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What one writer adds at once. A store adds each `number` of a `writer` once, however often it is told.

    Days before `oldest` are kept no longer; `kept_days` says the same as a number of days.
    """

    writer: str
    number: int
    rows: UsageRows
    oldest: str
    kept_days: int


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which rows are asked for: those from day `first` to `last`; None stands for every key, every model."""

    first: str
    last: str
    key: str | None = None
    model: str | None = None

    def takes(self, name: RowName) -> bool:
        """Return True for a row that is asked for."""
        return (
            self.first <= name.day <= self.last
            and self.key in (None, name.key)
            and self.model in (None, name.model)
        )

    def days(self) -> Iterator[str]:
        """Yield the days, the newest first."""
        day = datetime.fromisoformat(self.last)
        while (text := f"{day:%Y-%m-%d}") >= self.first:
            yield text
            day -= timedelta(days=1)


class Tally:
    """Rows that are added up. `known` are rows that there are elsewhere, which need no new place.

    `displaced` counts the requests that found no place for a row of their own.
    """

    def __init__(self, known: Iterable[RowName] = (), most: int = MOST_ROWS_A_DAY) -> None:
        self.rows: dict[RowName, Counts] = {}
        self.displaced = 0
        self._known = set(known)
        self._a_day = Counter(name.day for name in self._known)
        self._most = most

    def add(self, name: RowName, counts: Counts) -> None:
        """Add to a row, or to that of all others of its day where there are too many."""
        if name not in self._known:
            if self._a_day[name.day] >= self._most:
                self.displaced += counts.requests
                name = RowName(name.day, OTHER, OTHER)
            else:
                self._known.add(name)
                self._a_day[name.day] += 1
        self.rows[name] = self.rows.get(name, _NOTHING).plus(counts)

    def add_all(self, rows: UsageRows) -> None:
        """Add to several rows."""
        for name, counts in rows.items():
            self.add(name, counts)

    def forget(self, oldest: str) -> None:
        """Remove the days before `oldest`."""
        for name in [name for name in self._known if name.day < oldest]:
            self._known.discard(name)
            self.rows.pop(name, None)
        for day in [day for day in self._a_day if day < oldest]:
            del self._a_day[day]

    def found(self, query: UsageQuery) -> dict[RowName, Counts]:
        """Return the rows that are asked for, as `in_order`."""
        return in_order({name: n for name, n in self.rows.items() if query.takes(name)})


_NOTHING = Counts()


def in_order(rows: UsageRows) -> dict[RowName, Counts]:
    """Return rows with the newest day first, then by key and model: one more than are read at most."""
    names = sorted(rows)
    names.sort(key=itemgetter(0), reverse=True)
    return {name: rows[name] for name in names[: MOST_ROWS_READ + 1]}


def day_of(seconds: float) -> str:
    """Return the UTC day of a Unix time."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def first_day(seconds: float, days: int) -> str:
    """Return the first of so many days, of which the last is that of a Unix time."""
    return day_of(seconds - (days - 1) * 86_400)
