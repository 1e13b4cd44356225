"""Metrics for Prometheus, and when each of them moves. docs/metrics.md explains them.

Counters and histograms move where something happens and survive a reload, since the files of all workers are added
up (`app.observability.metric_files`). Gauges are read from the live objects when a scrape asks
(`app.observability.gauges`). Labels are bounded sets: nothing that a caller wrote becomes one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_flask_exporter import PrometheusMetrics

from app.answer_store.stored_answer import CALLS, GONE, RESULTS
from app.backend.observer import TurnState
from app.backend.protocols import EVICTIONS, LOOKUPS, REPLACEMENTS, WARMTHS
from app.observability import labels, metric_archive, metric_files
from app.observability.requests import RequestRecord
from app.off_loop import OffLoop

log = logging.getLogger("codex_api.metrics")

_SHORT_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
_FIRST_TOKEN_MS = (10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000)
_ANSWER_MS = (50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000)

_TOKENS = {
    "prompt": "prompt_tokens",
    "cached": "cached_tokens",
    "cache_write": "cache_write_tokens",
    "completion": "completion_tokens",
    "reasoning": "reasoning_tokens",
}

OVERFLOWS = {"WORKER_BUSY": "admission", "SLOW_READER": "turn", "BODIES_FULL": "bodies"}
"""Which queue was full, by the error that the client got, unless the record names another (`streams`)."""

_OTHER_QUEUES = (
    "background_events",
    "connection",
    "log",
    "otel",
    "streams",
    "trace",
    "usage",
    "websocket_answers",
)

CACHES = ("answers", "images")

_END_STATES = (
    TurnState.COMPLETED,
    TurnState.FAILED,
    TurnState.INTERRUPTED,
    TurnState.ABANDONED,
)


class Metrics:
    """All metrics of one worker, and their exposition. A `Listener` of every request.

    `backend` is the worker's one: turns, and the waits for them, take so different times with each that a label has it.
    """

    def __init__(self, backend: str = "app_server") -> None:
        self.registry = CollectorRegistry()
        self._backend = backend
        folder = os.environ.get(metric_files.VARIABLE)
        self.folder = (
            Path(folder) if folder else None
        )  # through which workers share what they count
        self._off_loop = OffLoop()  # of its own: a slow disk delays scrapes and nothing else
        self._make_counters()
        self._make_counters_of_bounds()
        self._make_kept_counters()
        self._make_store_counters()
        self._make_histograms()
        # Both workers of a reload have open streams, so theirs are added up.
        self.streams = Gauge(
            "codex_streams_active",
            "Streams that are open.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._exporter = PrometheusMetrics(
            app=None, path=None, export_defaults=False, registry=self.registry
        )
        self._show_zeros()
        # The library makes texts and takes a lock for each look at a series. There are few, so they are remembered.
        self._requests, self._tokens = cache(self.requests.labels), cache(self.tokens.labels)
        self._turns, self._turn_ms = cache(self.turns.labels), cache(self.turn_ms.labels)
        self._stream_ms = cache(self.stream_ms.labels)
        self._kept_lookups = cache(self.kept_lookups.labels)
        self._warm_lookups = cache(self.warm_lookups.labels)
        self._ttft_ms, self._queue_ms = (
            histogram.labels(backend) for histogram in (self.ttft_ms, self.queue_ms)
        )

    def _make_counters(self) -> None:
        make = partial(Counter, registry=self.registry)
        self.requests = make(
            "codex_http_requests_total",
            "Requests that are over.",
            ("route", "method", "status", "code"),
        )
        self.tokens = make("codex_tokens_total", "Tokens of answers.", ("kind", "model"))
        self.ignored = make(
            "codex_ignored_parameters_total",
            "Parameters that were accepted and ignored.",
            ("name",),
        )
        self.turns = make(
            "codex_turns_total", "Turns that were given back.", ("outcome", "backend")
        )
        self.restarts = make("codex_worker_restarts_total", "Starts of the child after a failure.")
        self.replacements = make(
            "codex_worker_replacements_total",
            "Children that another one has replaced.",
            ("reason",),
        )
        self.anomalies = make(
            "codex_rpc_anomalies_total", "Oddities of the child that were survived.", ("kind",)
        )

    def _make_counters_of_bounds(self) -> None:
        make = partial(Counter, registry=self.registry)
        self.overflows = make(
            "codex_overflows_total", "Times that a bounded queue was full.", ("queue",)
        )
        self.refusals = make(
            "codex_key_refusals_total",
            "Requests beyond the limits of their key.",
            ("key", "limit"),
        )
        self.uncounted = make(
            "codex_rate_limit_store_failures_total",
            "Requests that the configured storage could not count.",
        )
        self.cuts = make(
            "codex_connections_cut_total",
            "Client connections that this side ended.",
            ("reason",),
        )
        self.spans = make(
            "codex_spans_total", "Spans that were given to the exporter.", ("result",)
        )
        self.evictions = make(
            "codex_cache_evictions_total",
            "Entries of a cache that have made room for others.",
            ("cache",),
        )

    def _make_kept_counters(self) -> None:
        make = partial(Counter, registry=self.registry)
        self.kept_lookups = make(
            "codex_kept_thread_lookups_total",
            "Turns, by what came of looking for where their conversation was left.",
            ("result",),
        )
        self.kept_evictions = make(
            "codex_kept_thread_evictions_total",
            "Conversations that are kept no longer, without a next round.",
            ("reason",),
        )

        self.warm_lookups = make(
            "codex_warm_thread_lookups_total",
            "Turns that began anew, by what came of looking for a warm thread.",
            ("result",),
        )

    def _make_store_counters(self) -> None:
        make = partial(Counter, registry=self.registry)
        self.store_calls = make(
            "codex_answer_store_calls_total",
            "Calls of the store of answers.",
            ("call", "result"),
        )
        self.store_evictions = make(
            "codex_stored_answer_evictions_total",
            "Stored answers that went unasked.",
            ("reason",),
        )

        self.background = make(
            "codex_background_responses_total",
            "Background responses that are over.",
            ("outcome",),
        )

    def _make_histograms(self) -> None:
        make = partial(Histogram, registry=self.registry)
        self.turn_ms = make(
            "codex_worker_latency_ms",
            "From the start of a turn to its end.",
            ("outcome", "backend"),
            buckets=_ANSWER_MS,
        )
        self.stream_ms = make(
            "codex_stream_duration_ms",
            "From the arrival of a request to the last byte of its stream.",
            ("outcome",),
            buckets=_ANSWER_MS,
        )
        self.ttft_ms = make(
            "codex_stream_ttft_ms",
            "From the start of a stream's turn to its first event.",
            ("backend",),
            buckets=_FIRST_TOKEN_MS,
        )
        self.queue_ms = make(
            "codex_queue_wait_ms",
            "Time that a request waited for a slot or for the child.",
            ("backend",),
            buckets=_SHORT_MS,
        )

        self.loop_delay_ms = make(
            "codex_loop_delay_ms",
            "How much later than asked the event loop ran a greenlet, looked at 40 times a second.",
            buckets=_SHORT_MS,
        )

    def _show_zeros(self) -> None:
        """Make the series whose labels are known: a rate needs the zero before the first one."""
        known: Sequence[tuple[Counter | Histogram, Iterable[str]]] = (
            (self.ttft_ms, [self._backend]),
            (self.queue_ms, [self._backend]),
            (self.stream_ms, labels.OUTCOMES),
            (self.background, labels.BACKGROUND_OUTCOMES),
            (self.overflows, (*OVERFLOWS.values(), *_OTHER_QUEUES)),
            (self.replacements, REPLACEMENTS),
            (self.evictions, CACHES),
            (self.spans, ("exported", "failed")),
            (self.kept_lookups, LOOKUPS),
            (self.kept_evictions, EVICTIONS),
            (self.warm_lookups, WARMTHS),
            (self.store_evictions, GONE),
            (self.cuts, labels.CUTS),
        )
        for metric, values in known:
            for value in values:
                metric.labels(value)
        for state in _END_STATES:
            self.turns.labels(state.value, self._backend)
            self.turn_ms.labels(state.value, self._backend)
        for call, result in product(CALLS, RESULTS):
            self.store_calls.labels(call, result)

    def know_keys(self, names: Iterable[str]) -> None:
        """Make the series of the keys that there are, for the same reason."""
        for name, limit in product(names, labels.KEY_LIMITS):
            self.refusals.labels(name, limit)

    def expose(self, accept: str | None) -> tuple[str, str]:
        """Return the exposition of all workers and its content type, in the format that `accept` prefers.

        Blocks: where the files of several workers are read, a thread does it, as long as the disk takes.
        """
        if self.folder is None:
            return self._generate(accept)
        return self._off_loop.run("", self._read_files, self.folder, accept)

    def _read_files(self, folder: Path, accept: str | None) -> tuple[str, str]:
        with metric_archive.reading(folder):
            return self._generate(accept)

    def _generate(self, accept: str | None) -> tuple[str, str]:
        content, content_type = self._exporter.generate_metrics(accept)
        return str(content), str(content_type)

    def streams_by_worker(self) -> dict[int, int]:
        """Return how many streams each worker has open, by its pid: two while one takes over from the other.

        Blocks as `expose` does; where workers share nothing, this one is the only one.
        """
        if self.folder is None:
            here = self.registry.get_sample_value("codex_streams_active")
            return {os.getpid(): round(here or 0)}
        return self._off_loop.run("", metric_archive.streams_by_worker, self.folder)

    def merge_dead_workers(self) -> None:
        """Add up what workers that are gone have left, if nobody reads it now; a disk that refuses is logged."""
        if self.folder is None:
            log.warning("metrics_not_shared")
            return
        try:
            metric_archive.merge_dead_workers(self.folder)
        except BlockingIOError:
            return  # at the next reload, then
        except OSError:
            log.warning("metrics_not_folded", exc_info=True)

    def turn_began(self, lookup: str, warmth: str) -> None:
        """Count what came of looking for a thread to begin on; empty where nobody looked."""
        if lookup:
            self._kept_lookups(lookup).inc()
        if warmth:
            self._warm_lookups(warmth).inc()

    def turn_ended(self, state: TurnState, duration_ms: float) -> None:
        """Count one turn that was given back."""
        self._turns(state.value, self._backend).inc()
        self._turn_ms(state.value, self._backend).observe(duration_ms)

    def connection_cut(self, reason: str) -> None:
        """Count a client connection that this side ended; `reason` is one of `labels.CUTS`."""
        self.cuts.labels(reason).inc()

    def stream_began(self, record: RequestRecord) -> None:
        """Count an open stream."""
        self.streams.inc()

    def request_ended(self, record: RequestRecord) -> None:
        """Count everything that is only known at the end of a request."""
        self._requests(
            record.route,
            labels.method(record.method),
            str(record.status),
            labels.limited_code(record.error_code, record.limited_by),
        ).inc()
        if record.limited_by is not None:
            self.refusals.labels(record.key_name or "", record.limited_by).inc()
        if record.is_streaming:
            self._count_stream(record)
        for name in record.ignored_parameters:
            self.ignored.labels(labels.ignored_parameter(name)).inc()
        self._count_answer(record)

    def _count_answer(self, record: RequestRecord) -> None:
        """Count what an answer met and cost, whether a request carried it or not."""
        queue = record.full_queue or OVERFLOWS.get(record.error_code or "")
        if queue is None and record.outcome == "slow_reader":
            queue = "connection"
        if queue is not None:
            self.overflows.labels(queue).inc()
        if record.queue_ms is not None:
            self._queue_ms.observe(record.queue_ms)
        if record.model is not None:
            self._count_tokens(record, record.model)

    def background_ended(self, record: RequestRecord) -> None:
        """Count a background answer that is over."""
        self.background.labels(record.outcome).inc()
        self._count_answer(record)

    def _count_stream(self, record: RequestRecord) -> None:
        self.streams.dec()
        self._stream_ms(record.outcome).observe(record.duration_ms or 0)
        if record.ttft_ms is not None:
            self._ttft_ms.observe(record.ttft_ms)

    def _count_tokens(self, record: RequestRecord, model: str) -> None:
        if record.requested_model is not None:  # the upstream chose this one, of any name
            model = labels.model(model, {known.id for known in record.known_models})
        for kind, field in _TOKENS.items():
            count: int | None = getattr(record, field)
            if count:
                self._tokens(kind, model).inc(count)


class BackgroundListener:
    """A `Listener` of the records of background answers, which no request carries."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def stream_began(self, record: RequestRecord) -> None:
        """Do nothing: their streams are those of requests."""

    def request_ended(self, record: RequestRecord) -> None:
        """Count how one ended, and what it cost."""
        self._metrics.background_ended(record)
