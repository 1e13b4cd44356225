"""OTLP exporter: plain spans become OpenTelemetry's, and go to a collector over HTTP, with its own library.

The only module that knows the packages of requirements-otel.txt. It is imported where spans are wanted, and nowhere
else; the import raises `ImportError` where the packages are not installed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from app.observability.spans import CLIENT, INTERNAL, SERVER, SpanData
from app.version import VERSION

_KINDS = {SERVER: SpanKind.SERVER, CLIENT: SpanKind.CLIENT, INTERNAL: SpanKind.INTERNAL}
_SCOPE = InstrumentationScope("codex_api", VERSION)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class OtlpExporter:
    """An `Export` to the collector at an address, within `timeout_s`. `resource` describes the service."""

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        timeout_s: float,
        resource: Mapping[str, str],
    ) -> None:
        # It logs what a collector answers, word by word. A failure is counted, and logged once, by the recorder.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._endpoint, self._headers, self._timeout_s = endpoint, dict(headers), timeout_s
        self._resource = Resource.create(dict(resource))

    @cached_property
    def _exporter(self) -> OTLPSpanExporter:
        # Made in the thread that uses it: its locks are of that thread's loop.
        return OTLPSpanExporter(
            endpoint=f"{self._endpoint}/v1/traces", headers=self._headers, timeout=self._timeout_s
        )

    def __call__(self, spans: Sequence[SpanData], before_s: float) -> bool:
        """Export spans; False where that failed. Blocks."""
        result = self._exporter.export([self._readable(span, before_s) for span in spans])
        return bool(result is SpanExportResult.SUCCESS)

    def _readable(self, span: SpanData, before_s: float) -> ReadableSpan:
        parent = None
        if span.parent_id is not None:
            parent = _context(span.trace_id, span.parent_id, is_remote=span.kind == SERVER)
        return ReadableSpan(
            span.name,
            context=_context(span.trace_id, span.span_id, is_remote=False),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR if span.has_failed else StatusCode.UNSET),
            start_time=round((span.started + before_s) * 1e9),
            end_time=round((span.ended + before_s) * 1e9),
            instrumentation_scope=_SCOPE,
        )


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, _SAMPLED)
