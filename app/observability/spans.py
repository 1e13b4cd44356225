"""Spans of one request, as plain data: made of its finished record and the traces of its turns. No OpenTelemetry here.

    POST /v1/chat/completions        the request
      queue                          each wait for a slot or for the child
      chat gpt-5.5                   each turn
        thread/start, turn/start     each call to codex

Names of attributes are OpenTelemetry's, for HTTP, RPC and generative AI; those that begin with `codex.` are ours. As
in a trace, each has a number, an id or a name from a closed set: no words of a turn, no key, no path that a caller
made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from app.backend.observer import KEPT
from app.observability import labels
from app.observability.requests import RequestRecord
from app.observability.traces import COMPLETED, Trace

SERVER, CLIENT, INTERNAL = "server", "client", "internal"

_UNKNOWN_METHOD = "_OTHER"
_FIRST_FAILURE = 500
_FIRST_REFUSAL = 400
_MOST_LETTERS = 200
"""Of a model's name: the upstream may let one of any name answer."""

Attributes: TypeAlias = Mapping[str, Any]


class SpanIds(NamedTuple):
    """Place of a request in a trace. `parent_id` is its caller's, or of the request that a background answer is of."""

    trace_id: str
    span_id: str
    parent_id: str | None
    scheme: str


class SpanData(NamedTuple):
    """One span. Times are monotonic seconds, ids are hexadecimal, attributes have no None."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str | None
    started: float
    ended: float
    attributes: Attributes
    has_failed: bool


class Finished(NamedTuple):
    """What spans are made of. Where `is_late` the request's own span is made already, and a turn came after it."""

    record: RequestRecord
    ids: SpanIds
    waits: Sequence[tuple[float, float]]
    traces: Sequence[Trace]
    is_late: bool = False

    @property
    def span_count(self) -> int:
        """How many spans it makes."""
        turns = sum(1 + trace.call_count for trace in self.traces)
        return turns if self.is_late else 1 + len(self.waits) + turns


def spans_of(finished: Finished, new_id: Callable[[], str]) -> Iterator[SpanData]:
    """Yield the spans of a request, the request's own first. `new_id` makes the id of each other one."""
    record, ids = finished.record, finished.ids
    if not finished.is_late:
        yield _request_span(record, ids)
        for began, ended in finished.waits:
            place = (ids.trace_id, new_id(), ids.span_id)
            yield SpanData("queue", INTERNAL, *place, began, ended, {}, has_failed=False)
    for trace in finished.traces:
        yield from _turn_spans(record, trace, ids, new_id)


def _request_span(record: RequestRecord, ids: SpanIds) -> SpanData:
    method = labels.method(record.method)
    is_known = method != labels.OTHER
    route = None if record.route == "unmatched" else record.route
    code = labels.loggable_code(record.error_code)
    attributes: dict[str, Any] = {
        "http.route": route,
        "error.type": code or _unless_completed(record.outcome),
        "gen_ai.request.model": _short(record.requested_model or record.model),
        "codex.request_id": record.request_id,
        "codex.key_name": record.key_name,
        "codex.outcome": record.outcome,
        "codex.stream": record.stream,
        "codex.backend": record.backend,
    }
    if record.is_background:
        name, kind = f"background {record.route}", INTERNAL
    else:
        name, kind = " ".join(filter(None, (method if is_known else "HTTP", route))), SERVER
        attributes |= {
            "http.request.method": method if is_known else _UNKNOWN_METHOD,
            "http.response.status_code": record.status,
            "http.request.body.size": record.request_bytes,
            "http.response.body.size": record.response_bytes,
            "url.scheme": ids.scheme,
        }
    # Of a refusal the caller is the reason; a stream fails behind its 200.
    is_broken = record.outcome == "failed" and record.status < _FIRST_REFUSAL
    ended = record.started + (record.duration_ms or 0) / 1000
    return SpanData(
        name,
        kind,
        ids.trace_id,
        ids.span_id,
        ids.parent_id,
        record.started,
        ended,
        _known(attributes),
        has_failed=is_broken or record.status >= _FIRST_FAILURE,
    )


def _turn_spans(
    record: RequestRecord, trace: Trace, ids: SpanIds, new_id: Callable[[], str]
) -> Iterator[SpanData]:
    document = trace.finished()
    span_id, outcome = new_id(), document["outcome"]
    model = _short(record.requested_model or record.model or document["model"])
    yield SpanData(
        f"chat {model}" if model else "chat",
        CLIENT,
        ids.trace_id,
        span_id,
        ids.span_id,
        trace.started,
        trace.started + (document["duration_ms"] or 0) / 1000,
        _known(_turn_attributes(record, document) | {"gen_ai.request.model": model}),
        has_failed=outcome not in {COMPLETED, "interrupted", "abandoned"},
    )
    for call in document["calls"]:
        began = trace.started + call["at_ms"] / 1000
        is_ok = call["status"] == "ok"
        attributes = {
            "rpc.system.name": "jsonrpc",
            "rpc.method": call["method"],
            "error.type": None if is_ok else call["status"],
            "codex.sent_bytes": call["sent_bytes"],
            "codex.received_bytes": call["received_bytes"],
        }
        place = (ids.trace_id, new_id(), span_id)
        ended = began + call["duration_ms"] / 1000
        known = _known(attributes)
        yield SpanData(call["method"], CLIENT, *place, began, ended, known, has_failed=not is_ok)


def _turn_attributes(record: RequestRecord, document: Mapping[str, Any]) -> dict[str, Any]:
    is_completed = document["outcome"] == COMPLETED
    first_ms = document["first_event_ms"]
    usage = _usage(record, document)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.stream": record.stream,
        "gen_ai.response.model": _short(record.model) if is_completed else None,
        "gen_ai.response.finish_reasons": (
            [record.finish_reason] if is_completed and record.finish_reason else None
        ),
        "gen_ai.response.time_to_first_chunk": None if first_ms is None else first_ms / 1000,
        "gen_ai.usage.input_tokens": usage.get("input"),
        "gen_ai.usage.output_tokens": usage.get("output"),
        "gen_ai.usage.cache_read.input_tokens": usage.get("cached_input"),
        "gen_ai.usage.reasoning.output_tokens": usage.get("reasoning_output"),
        "error.type": document["error_code"] or _unless_completed(document["outcome"]),
        "codex.outcome": document["outcome"],
        "codex.thread_id": document["thread_id"],
        "codex.turn_id": document["turn_id"],
        "codex.generation": document["generation"],
    }


def _usage(record: RequestRecord, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tokens of one turn. codex counts a thread's: one that was kept has those of earlier turns, too."""
    if document.get("kept_thread") != KEPT:
        return document["usage"] or {}
    if document["outcome"] != COMPLETED:
        return {}
    return {
        "input": record.prompt_tokens,
        "output": record.completion_tokens,
        "cached_input": record.cached_tokens,
        "reasoning_output": record.reasoning_tokens,
    }


def _unless_completed(outcome: str) -> str | None:
    return None if outcome == COMPLETED else outcome


def _short(name: str | None) -> str | None:
    return None if name is None else name[:_MOST_LETTERS]


def _known(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
