"""Metrics as a scrape shows them: families, and the series whose values follow from the requests."""

from __future__ import annotations

from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

_POLLED = {"/readyz", "/healthz", "/internal/traces/<request_id>"}
"""Routes that are asked until something is so: how often is up to the machine."""

_VALUES = {
    "codex_http_requests_total",
    "codex_tokens_total",
    "codex_turns_total",
    "codex_ignored_parameters_total",
    "codex_overflows_total",
    "codex_key_refusals_total",
    "codex_rate_limit_store_failures_total",
    "codex_connections_cut_total",
    "codex_worker_restarts_total",
    "codex_worker_replacements_total",
    "codex_worker_latency_ms_count",
    "codex_stream_ttft_ms_count",
    "codex_stream_duration_ms_count",
    "codex_queue_wait_ms_count",
    "codex_worker_ready",
    "codex_worker_backoff_ms",
    "codex_maintenance_mode",
    "codex_streams_active",
    "codex_queue_depth",
    "codex_account_limit_used_percent",
    "codex_account_limit_reset_timestamp_seconds",
}
"""Samples whose values follow from the requests; of every other only the labels are recorded."""

_BY_ACCIDENT = {"codex_rpc_anomalies_total"}
"""Families whose series begin with an oddity of the child that a run has or has not."""


def describe(text: str) -> dict[str, Any]:
    """Return the families of an exposition, and its series."""
    families: dict[str, Any] = {}
    series: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        families[family.name] = _describe_family(family)
        if family.name not in _BY_ACCIDENT and f"{family.name}_total" not in _BY_ACCIDENT:
            series |= _series(family)
    return {"families": families, "series": series}


def _describe_family(family: Metric) -> dict[str, Any]:
    bounds = [sample.labels["le"] for sample in family.samples if "le" in sample.labels]
    return {
        "type": family.type,
        "help": family.documentation,
        "samples": " ".join(sorted({sample.name for sample in family.samples})),
        "labels": " ".join(sorted({n for sample in family.samples for n in sample.labels})),
        "buckets": " ".join(dict.fromkeys(bounds)),
    }


def _series(family: Metric) -> dict[str, Any]:
    found = {}
    for sample in family.samples:
        if "le" in sample.labels or _is_by_the_way(sample.labels):
            continue  # the family has the bounds
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        is_told = sample.name in _VALUES and sample.labels.get("route") not in _POLLED
        found[f"{sample.name}{{{labels}}}"] = sample.value if is_told else "<value>"
    return found


def _is_by_the_way(labels: dict[str, str]) -> bool:
    """True for a route that said "not yet": whether it was asked that early is up to the machine, too."""
    return labels.get("route") in _POLLED and labels["status"] != "200"
