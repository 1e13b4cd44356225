"""Recent minutes of one worker, for operators: how fast it answered, from which cache, and what failed and why.

Metrics have the same for those who scrape them; this is the last hour without a Prometheus. It is bounded however many
requests come: a record for each minute, with counts of known codes and of durations by size.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.observability import labels
from app.observability.faults import fault_of
from app.observability.requests import RequestRecord

MINUTES = 60
SPREAD_MINUTES = 15
"""Of how many minutes the durations are told together."""

_MINUTE_S = 60
_PER_DOUBLING = 4
"""Sizes of durations for each doubling: a quantile is never too low, and a fifth too high at most."""

_LONGEST_MS = 1 << 22


class Spread:
    """Durations in milliseconds, counted by size. The sizes are few, so that it is small however many there are."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, duration_ms: float) -> None:
        """Count one."""
        bounded = min(max(duration_ms, 1.0), _LONGEST_MS)
        self._counts[math.ceil(math.log2(bounded) * _PER_DOUBLING)] += 1

    def update(self, other: Spread) -> None:
        """Count those of another one, too."""
        self._counts.update(other._counts)

    def quantile(self, share: float) -> float | None:
        """Return what that share of them is below; None where there are none."""
        wanted = share * self._counts.total()
        seen = 0
        for size in sorted(self._counts):
            seen += self._counts[size]
            if seen >= wanted:
                return _up_to(size)
        return None

    def brief(self) -> dict[str, float | None]:
        """Return two quantiles for JSON."""
        return {"p50": self.quantile(0.5), "p95": self.quantile(0.95)}

    def full(self) -> dict[str, Any]:
        """Return the same with the counts: `up_to_ms` is the upper end of each size, the smallest first."""
        buckets = [
            {"up_to_ms": _up_to(size), "count": self._counts[size]} for size in sorted(self._counts)
        ]
        return {
            "count": self._counts.total(),
            **self.brief(),
            "p99": self.quantile(0.99),
            "buckets": buckets,
        }


def _up_to(size: int) -> float:
    return round(2 ** (size / _PER_DOUBLING), 1)


@dataclass(slots=True)
class _Minute:
    """What ended in one minute; `number` is Unix time in minutes."""

    number: int
    requests: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    first_token: Spread = field(default_factory=Spread)
    duration: Spread = field(default_factory=Spread)
    input: int = 0
    cached: int = 0
    output: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "at": _utc(self.number * _MINUTE_S),
            "requests": self.requests,
            "errors": self.errors.total(),
            "first_token_ms": self.first_token.brief(),
            "duration_ms": self.duration.brief(),
            "input_tokens": self.input,
            "cached_tokens": self.cached,
            "output_tokens": self.output,
        }


@dataclass(frozen=True, slots=True)
class _Last:
    """The last request that ended with a code."""

    at: float
    route: str
    request_id: str


class Recent:
    """A `Listener` of every request; see the module. `clock` is Unix time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._since = clock()
        self._minutes: deque[_Minute] = deque(maxlen=MINUTES)
        self._last: dict[str, _Last] = {}  # by code, of which there are few

    def stream_began(self, record: RequestRecord) -> None:
        """Do nothing: a request counts at its end."""

    def request_ended(self, record: RequestRecord) -> None:
        """Count a request, or a background answer, whose request has been counted before."""
        now = self._clock()
        minute = self._minute(now)
        if record.route.startswith("/v1/") and not record.is_background:
            minute.requests += 1
        if record.error_code is not None:
            code = labels.limited_code(record.error_code, record.limited_by)
            minute.errors[code] += 1
            self._last[code] = _Last(now, record.route, record.request_id)
        if record.model is not None and not record.is_handed_over:
            _count_answer(minute, record)

    def _minute(self, now: float) -> _Minute:
        number = int(now // _MINUTE_S)
        # A clock that was set back goes on in the minute that there is.
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]

    def report(self) -> dict[str, Any]:
        """Return the last hour for JSON, with every time in UTC. Does not block."""
        this = int(self._clock() // _MINUTE_S)
        hour = [minute for minute in self._minutes if minute.number > this - MINUTES]
        latest = [minute for minute in hour if minute.number > this - SPREAD_MINUTES]
        return {
            "since": _utc(self._since),
            "minutes": [minute.to_json() for minute in hour],
            "spread_minutes": SPREAD_MINUTES,
            "first_token_ms": _together(minute.first_token for minute in latest),
            "duration_ms": _together(minute.duration for minute in latest),
            "errors": self._errors(hour),
        }

    def _errors(self, hour: Iterable[_Minute]) -> list[dict[str, Any]]:
        counts: Counter[str] = Counter()
        for minute in hour:
            counts.update(minute.errors)
        return [
            {
                "code": code,
                "fault": fault_of(code),
                "count": count,
                "last_at": _utc(self._last[code].at),
                "last_route": self._last[code].route,
                "last_request_id": self._last[code].request_id,
            }
            for code, count in counts.most_common()
        ]


def _count_answer(minute: _Minute, record: RequestRecord) -> None:
    if record.ttft_ms is not None:
        minute.first_token.add(record.ttft_ms)
    is_whole = record.outcome == "completed" and record.error_code is None
    if is_whole and record.duration_ms is not None:
        minute.duration.add(record.duration_ms)
    minute.input += record.prompt_tokens or 0
    minute.cached += record.cached_tokens or 0
    minute.output += record.completion_tokens or 0


def _together(spreads: Iterable[Spread]) -> dict[str, Any]:
    whole = Spread()
    for spread in spreads:
        whole.update(spread)
    return whole.full()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
