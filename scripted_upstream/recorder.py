"""Records of the requests and what became of them, for the tests; and the counters.

Bounded by number and by bytes. Bodies are kept only when asked for: a demo remembers no prompt.
A record's times are milliseconds of the monotonic clock. `peer_closed` is set when the other side
went away while it was being served, at the moment at which the socket said so.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from gevent.event import Event

from scripted_upstream.prompt_cache import Charge

MAX_RECORDS = 4096
MAX_BYTES = 64 * 1024 * 1024
_MAX_ERRORS = 20


@dataclass(slots=True, eq=False)
class Record:
    """One request and its fate; `times` has arrived, headers_sent, finished, peer_closed."""

    sequence: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    times: dict[str, float] = field(default_factory=dict)
    outcome: str | None = None
    bytes_sent: int = 0
    gate: Event | None = None

    def rendered(self) -> dict[str, Any]:
        """Return the record as JSON data, the body parsed when it is JSON."""
        try:
            body = orjson.loads(self.body) if self.body else None
        except orjson.JSONDecodeError:
            body = self.body.decode(errors="replace")
        return {
            "sequence": self.sequence,
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "body": body,
            **{f"{name}_ms": self.times.get(name) for name in TIMES},
            "outcome": self.outcome,
            "bytes_sent": self.bytes_sent,
            "held": self.gate is not None,
        }


TIMES = ("arrived", "headers_sent", "finished", "peer_closed")
"""The moments of a record, in the usual order."""


class Recorder:
    """The records and counters of one process. Used from greenlets only, so it needs no lock."""

    def __init__(self, clock: Callable[[], float], *, keeps: bool) -> None:
        self._clock = clock
        self._keeps = keeps
        self._changed = Event()
        self._records: deque[Record] = deque()
        self._bytes = 0
        self.requests_total = 0
        self.bytes_received = self.bytes_sent = 0
        self.input_tokens = self.cached_tokens = 0
        self.in_flight = 0
        self.open_connections = 0
        self.errors: list[str] = []
        self.errors_total = 0

    def __repr__(self) -> str:
        return f"<Recorder total={self.requests_total} in_flight={self.in_flight}>"

    def arrived(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        received: int | None = None,
    ) -> Record:
        """Record a request whose body has been read. Pair it with `finished`.

        `received` is how many bytes came for it, where it says more than they do.
        """
        self.requests_total += 1
        self.bytes_received += len(body) if received is None else received
        self.in_flight += 1
        record = Record(self.requests_total, method, path, _scrubbed(headers), body)
        if self._keeps:
            self._records.append(record)
            self._bytes += len(body)
            while len(self._records) > MAX_RECORDS or self._bytes > MAX_BYTES:
                self._bytes -= len(self._records.popleft().body)
        self.mark(record, "arrived")
        return record

    def mark(self, record: Record, moment: str) -> None:
        """Note the first time at which a record reached one of its TIMES."""
        record.times.setdefault(moment, self._clock() * 1000)
        self._tell()

    def finished(self, record: Record, outcome: str) -> None:
        """Note how serving a request ended."""
        self.in_flight -= 1
        self.bytes_sent += record.bytes_sent
        record.outcome = outcome
        record.gate = None
        self.mark(record, "finished")

    def charged(self, charge: Charge) -> None:
        """Add up what a prompt cache says of the requests."""
        self.input_tokens += charge.input_tokens
        self.cached_tokens += charge.cached_tokens

    def hold(self, record: Record) -> Event:
        """Return the event that `release` sets for this record."""
        record.gate = gate = Event()
        self._tell()
        return gate

    def release(self, marker: str | None) -> int:
        """Let the held records go on; return how many there were."""
        held = [record for record in self.matching(marker) if record.gate is not None]
        for record in held:
            if record.gate is not None:
                record.gate.set()
            record.gate = None
        return len(held)

    def matching(self, marker: str | None) -> list[Record]:
        """Return the kept records whose body contains the marker, oldest first."""
        if marker is None:
            return list(self._records)
        needle = marker.encode()
        return [record for record in self._records if needle in record.body]

    def count(self, marker: str | None, condition: str) -> int:
        """Count the records that are held now, or that ever reached one of the TIMES."""
        records = self.matching(marker)
        if condition == "held":
            return sum(record.gate is not None for record in records)
        return sum(condition in record.times for record in records)

    def wait(self, marker: str | None, condition: str, count: int, timeout_s: float) -> int:
        """Block until `count` records fulfil the condition or the time is over; return how many."""
        deadline = self._clock() + timeout_s
        while True:
            changed = self._changed
            have = self.count(marker, condition)
            left = deadline - self._clock()
            if have >= count or left <= 0:
                return have
            changed.wait(left)

    def failed(self, error: str) -> None:
        """Count an error of our own: none of them may pass in silence."""
        self.errors_total += 1
        self.errors = [*self.errors, error][-_MAX_ERRORS:]

    def state(self) -> dict[str, Any]:
        """Return the counters as JSON data."""
        return {
            "open_connections": self.open_connections,
            "requests_total": self.requests_total,
            "bytes_received": self.bytes_received,
            "bytes_sent": self.bytes_sent,
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "in_flight": self.in_flight,
            "errors": self.errors_total,
            "last_errors": self.errors,
        }

    def reset(self) -> None:
        """Forget all records, errors and the total; what is being served goes on, unheld."""
        self.release(None)
        self._records.clear()
        self._bytes = self.requests_total = self.errors_total = 0
        self.bytes_received = self.bytes_sent = self.input_tokens = self.cached_tokens = 0
        self.errors = []
        self._tell()

    def _tell(self) -> None:
        """Wake every waiter; the next ones wait on a new event."""
        changed, self._changed = self._changed, Event()
        changed.set()


def _scrubbed(headers: Mapping[str, str]) -> dict[str, str]:
    """Replace a credential by `present` and the start of its hash, enough to tell two apart."""
    kept = {name.lower(): value for name, value in headers.items()}
    secret = kept.pop("authorization", None)
    if secret is None:
        return {**kept, "authorization": "<absent>"}
    token = secret.removeprefix("Bearer ").encode()
    digest = hashlib.sha256(token).hexdigest()[:12]
    return {**kept, "authorization": "<present>", "authorization-sha256": digest}
