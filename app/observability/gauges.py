"""Gauges: what is true at the moment of a scrape, read from the live objects of the worker that serves it.

While two workers overlap, the one that was read last speaks for the service: it is the one that takes new requests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from prometheus_client import Gauge

from app.answer_store.stored_answer import Totals
from app.backend.account import AccountLimits
from app.backend.health import Health
from app.observability import logs
from app.observability.metrics import Metrics
from app.process.memory import resident_bytes


class Gauges:
    """See the module. The arguments are asked at every reading; they must not block."""

    def __init__(
        self,
        metrics: Metrics,
        status: Callable[[], Health],
        trace_entries: Callable[[], int] = lambda: 0,
        in_maintenance: Callable[[], bool] = lambda: False,
        account: AccountLimits | None = None,
        stored: Callable[[], Totals] = Totals,
        background: Callable[[], tuple[int, int]] = lambda: (0, 0),
        websockets: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        self._metrics = metrics
        self._status = status
        self._trace_entries = trace_entries
        self._in_maintenance = in_maintenance
        self._account = account or AccountLimits()
        self._stored_totals = stored
        self._background_use = background
        self._websocket_use = websockets
        self._generation = 0
        self._seen: Counter[str] = Counter()
        self._seen_evictions: Counter[str] = Counter()
        self._lines_lost = 0

        self._make()

    def _make(self) -> None:
        def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            registry = self._metrics.registry
            return Gauge(name, text, labels, multiprocess_mode="livemostrecent", registry=registry)

        self._ready = gauge("codex_worker_ready", "1 when a request would be served now.")
        self._backoff = gauge("codex_worker_backoff_ms", "Wait before the next start of the child.")
        self._handshake = gauge("codex_worker_handshake_ms", "What the last start took.")
        self._resident = gauge("codex_worker_resident_bytes", "Memory of the child that serves.")
        self._processes = gauge(
            "codex_worker_processes",
            "Codex processes that turns run on, or may begin on.",
            ["backend"],
        )
        self._queue = gauge("codex_queue_depth", "Requests that wait for a slot.")
        self._maintenance = gauge("codex_maintenance_mode", "1 while maintenance is on.")
        self._kept = gauge("codex_kept_threads", "Conversations kept for their next round.")
        self._kept_bytes = gauge("codex_kept_thread_bytes", "About what they take of the child.")
        self._warm = gauge("codex_warm_threads", "Threads that wait for a request.")
        self._stored = gauge("codex_stored_answers", "Answers in the SQLite file.")
        self._stored_bytes = gauge("codex_stored_bytes", "About what they take on disk.")
        self._background = gauge(
            "codex_background_responses_active", "Background responses that run or wait for a turn."
        )
        self._background_bytes = gauge(
            "codex_background_event_bytes", "Events kept for those who follow them."
        )
        self._websockets = gauge("codex_websockets_open", "WebSockets of clients that are open.")
        self._websocket_bytes = gauge(
            "codex_websocket_answer_bytes", "Answers kept for what goes on over a WebSocket."
        )
        self._traces = gauge("codex_trace_buffer_entries", "Files in the trace buffer.")
        self._account_used = gauge(
            "codex_account_limit_used_percent", "How full a window of the account is.", ["window"]
        )
        self._account_reset = gauge(
            "codex_account_limit_reset_timestamp_seconds", "When it starts again.", ["window"]
        )

    def read(self) -> None:
        """Take every reading. Call it right before the exposition is made."""
        status = self._status()
        self._ready.set(status.ready)
        self._backoff.set(status.backoff_ms)
        self._handshake.set(status.handshake_ms or 0)
        self._processes.labels(status.backend).set(len(status.processes))
        resident = (resident_bytes(pid) or 0 for pid in status.processes)
        self._resident.set(max(resident, default=0))
        self._queue.set(status.waiting)
        self._maintenance.set(self._in_maintenance())
        self._kept.set(status.kept.count)
        self._kept_bytes.set(status.kept.size)
        self._warm.set(status.warm)
        stored = self._stored_totals()
        self._stored.set(stored.answers)
        self._stored_bytes.set(stored.size)
        active, event_bytes = self._background_use()
        self._background.set(active)
        self._background_bytes.set(event_bytes)
        open_websockets, answer_bytes = self._websocket_use()
        self._websockets.set(open_websockets)
        self._websocket_bytes.set(answer_bytes)
        self._traces.set(self._trace_entries())
        self._read_account()
        self._count_anomalies(status)
        self.count_lost_lines()

    def _read_account(self) -> None:
        """Take what the upstream has reported; there is no series before that."""
        for name, window in self._account.windows(time.time()).items():
            self._account_used.labels(name).set(window.used_percent)
            if window.resets_at is not None:
                self._account_reset.labels(name).set(window.resets_at)

    def _count_anomalies(self, status: Health) -> None:
        """Add what the child's own counters have moved since the last reading; a new child counts from zero."""
        if status.generation != self._generation:
            self._generation = status.generation
            self._seen.clear()
            self._seen_evictions.clear()
        for kind, count in status.counters.items():
            self._metrics.anomalies.labels(kind).inc(count - self._seen[kind])
            self._seen[kind] = count
        for reason, count in status.kept.evicted.items():
            self._metrics.kept_evictions.labels(reason).inc(count - self._seen_evictions[reason])
            self._seen_evictions[reason] = count

    def count_lost_lines(self) -> None:
        """Add what the log has lost since the last reading: its own thread must not touch a metric."""
        lost = logs.lines_lost()
        self._metrics.overflows.labels("log").inc(lost - self._lines_lost)
        self._lines_lost = lost
