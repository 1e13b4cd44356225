"""Spans of OpenTelemetry at a real collector: whose they are, what they say, what they cost when nobody takes them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    MODEL,
    ROOT,
    Gateway,
    Upstream,
    ask,
    end,
    start_gateway,
    wait_until,
)
from tests.e2e.in_flight import failing
from tests.e2e.scrape import scrape, total

pytestmark = pytest.mark.system

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
SERVER, CLIENT, INTERNAL = 2, 3, 1
CHAT = "POST /v1/chat/completions"

Span = dict[str, Any]


@pytest.fixture(scope="module")
def python() -> str:
    found = shutil.which("python", path=str(ROOT / ".venv-otel" / "bin"))
    assert found, "make otel-environment"
    return found


class Collector:
    def __init__(self, python: str, folder: Path, port: int = 0) -> None:
        self.output = folder / "spans.jsonl"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [python, str(ROOT / "tests/e2e/otlp_collector.py"), str(port)],
                stdin=subprocess.PIPE,
                stdout=output,
            )
        wait_until(lambda: b"\n" in self.output.read_bytes(), "the collector listens")
        self.port = int(self.output.read_text().splitlines()[0])

    def spans(self) -> list[Span]:
        whole = self.output.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()[1:]]

    def of(self, request_id: str, *names: str) -> list[Span]:
        """The spans of a request's trace, once each name is there; they may come in several batches."""

        def found() -> list[Span]:
            spans = self.spans()
            traces = {
                span["trace_id"]
                for span in spans
                if span["attributes"].get("codex.request_id") == request_id
            }
            mine = [span for span in spans if span["trace_id"] in traces]
            return mine if set(names) <= {span["name"] for span in mine} else []

        spans: list[Span] = wait_until(found, f"spans {names}")
        return spans

    def close(self) -> None:
        self.process.communicate(timeout=DEADLINE_S)


Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path, python: str, upstream: Upstream) -> Iterator[Start]:
    """A gateway in the environment that has OpenTelemetry."""
    with ExitStack() as ends:

        def begin(**settings: str) -> Gateway:
            gateway = start_gateway(tmp_path, upstream, python=python, **settings)
            ends.callback(end, gateway)
            gateway.wait_ready()
            return gateway

        yield begin


@pytest.fixture
def collector(tmp_path: Path, python: str) -> Iterator[Collector]:
    collector = Collector(python, tmp_path)
    yield collector
    collector.close()


@pytest.fixture
def traced(start: Start, collector: Collector) -> Gateway:
    return start(
        PROXY_OTEL="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=of%20the%20collector",
        OTEL_SERVICE_NAME="my-gateway",
        PROXY_ENV="staging",
    )


def send(
    gateway: Gateway,
    body: Any,
    path: str = "chat/completions",
    *,
    is_stream: bool = False,
    **headers: str,
) -> requests.Response:
    return requests.post(
        f"{gateway.url}/v1/{path}",
        json=body,
        headers=gateway.headers | headers,
        timeout=DEADLINE_S,
        stream=is_stream,
    )


def only(spans: list[Span], name: str) -> Span:
    (span,) = [span for span in spans if span["name"] == name]
    return span


def test_a_request_is_spans_in_the_trace_of_its_caller(
    traced: Gateway, collector: Collector, upstream: Upstream
) -> None:
    marker = upstream.say("canary answer")
    answer = send(traced, ask(marker, user="canary"), traceparent=SAMPLED)
    assert answer.status_code == 200
    spans = collector.of(
        answer.headers["X-Request-Id"], CHAT, "queue", f"chat {MODEL}", "turn/start"
    )
    request = only(spans, CHAT)
    queue = next(span for span in spans if span["name"] == "queue")  # for a slot, then the child
    turn, call = only(spans, f"chat {MODEL}"), only(spans, "turn/start")

    assert {span["trace_id"] for span in spans} == {TRACE}
    assert len({span["span_id"] for span in spans}) == len(spans)
    assert request["parent_id"] == CALLER
    assert queue["parent_id"] == turn["parent_id"] == request["span_id"]
    assert call["parent_id"] == turn["span_id"]
    assert [s["kind"] for s in (request, queue, turn, call)] == [SERVER, INTERNAL, CLIENT, CLIENT]
    assert request["start"] <= queue["start"] <= queue["end"] <= turn["end"]
    # The end of a short turn may be read before the call that began it has its answer.
    assert turn["start"] <= call["start"] <= min(call["end"], turn["end"])

    usage = answer.json()["usage"]
    assert request["attributes"] == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "http.request.body.size": len(answer.request.body or b""),
        "http.response.body.size": len(answer.content),
        "url.scheme": "http",
        "gen_ai.request.model": MODEL,
        "codex.request_id": answer.headers["X-Request-Id"],
        "codex.key_name": "default",
        "codex.outcome": "completed",
        "codex.stream": False,
        "codex.backend": "app_server",
    }
    of_turn = turn["attributes"]
    assert {name: of_turn[name] for name in of_turn if name.startswith("gen_ai")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": False,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": of_turn["gen_ai.response.time_to_first_chunk"],
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
    }
    assert of_turn["codex.thread_id"] == answer.json()["codex_metadata"]["thread_id"]
    assert call["attributes"]["rpc.system.name"] == "jsonrpc"
    assert call["attributes"]["rpc.method"] == "turn/start"
    for span in spans:
        assert not span["has_failed"]
        assert (span["path"], span["key"]) == ("/v1/traces", "of the collector")
        assert span["resource"]["service.name"] == "my-gateway"
        assert span["resource"]["deployment.environment.name"] == "staging"
    told = collector.output.read_text()
    assert "canary" not in told
    assert KEY not in told


def test_a_request_without_a_context_begins_a_trace_and_an_unsampled_one_has_no_span(
    traced: Gateway, collector: Collector, upstream: Upstream
) -> None:
    marker = upstream.say("hello")
    unsampled = send(traced, ask(marker), traceparent=NOT_SAMPLED)
    anonymous = requests.post(f"{traced.url}/v1/chat/completions", json={}, timeout=DEADLINE_S)
    assert (unsampled.status_code, anonymous.status_code) == (200, 401)
    for traceparent in ("", SAMPLED.upper(), f"{SAMPLED}, {SAMPLED}"):
        answer = send(traced, ask(marker), traceparent=traceparent)
        spans = collector.of(answer.headers["X-Request-Id"], CHAT, f"chat {MODEL}")
        assert only(spans, CHAT)["parent_id"] is None
        assert only(spans, CHAT)["trace_id"] != TRACE
    assert traced.stop() == 0
    told = [span["attributes"].get("codex.request_id") for span in collector.spans()]
    assert unsampled.headers["X-Request-Id"] not in told
    assert anonymous.headers["X-Request-Id"] not in told
    assert len({span["trace_id"] for span in collector.spans()}) == 3


def test_refusals_failures_and_broken_streams_say_why(
    traced: Gateway, collector: Collector, upstream: Upstream
) -> None:
    refused = send(traced, ask("x", n=0))
    (span,) = collector.of(refused.headers["X-Request-Id"], CHAT)
    assert span["attributes"]["http.response.status_code"] == 400
    assert span["attributes"]["error.type"] == refused.json()["error"]["code"]
    assert not span["has_failed"]

    failed = send(traced, ask(upstream.play({"failure": "bad_request"})))
    spans = collector.of(failed.headers["X-Request-Id"], CHAT, f"chat {MODEL}")
    code = failed.json()["error"]["code"]
    assert only(spans, CHAT)["attributes"]["error.type"] == code
    assert not only(spans, CHAT)["has_failed"]
    assert only(spans, f"chat {MODEL}")["has_failed"]

    broken = upstream.play(failing(["one", "two"], "failed_server_error", after=1))
    streamed = send(traced, ask(broken, stream=True), is_stream=True)
    assert streamed.status_code == 200
    lines = streamed.iter_lines()
    assert any(b'"one"' in line for line in lines)
    upstream.control.wait("held", broken)
    upstream.control.release(broken)
    rest = b"".join(lines).decode()
    spans = collector.of(streamed.headers["X-Request-Id"], CHAT, f"chat {MODEL}")
    assert only(spans, CHAT)["attributes"]["codex.stream"] is True
    assert only(spans, CHAT)["attributes"]["error.type"] in rest
    assert only(spans, CHAT)["has_failed"]
    assert only(spans, f"chat {MODEL}")["has_failed"]


def test_a_background_answer_is_a_span_below_its_request(
    traced: Gateway, collector: Collector, upstream: Upstream
) -> None:
    marker = upstream.say("hello")
    body = {"model": MODEL, "input": f"[{marker}]", "background": True}
    answer = send(traced, body, "responses", traceparent=SAMPLED)
    assert answer.status_code == 200
    inner = "background /v1/responses"
    spans = collector.of(
        answer.headers["X-Request-Id"], "POST /v1/responses", inner, f"chat {MODEL}"
    )
    request, background = only(spans, "POST /v1/responses"), only(spans, inner)
    assert request["parent_id"] == CALLER
    assert background["parent_id"] == request["span_id"]
    assert only(spans, f"chat {MODEL}")["parent_id"] == background["span_id"]


def test_a_collector_that_is_gone_costs_spans_and_nothing_else(
    start: Start, collector: Collector, python: str, upstream: Upstream, tmp_path: Path
) -> None:
    collector.close()
    gateway = start(
        PROXY_OTEL="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}",
        PROXY_OTEL_TIMEOUT_MS="500",
    )
    marker = upstream.say("hello")
    for _ in range(3):
        assert send(gateway, ask(marker)).status_code == 200
    wait_until(lambda: failed(gateway), "spans are counted as failed")
    assert len(gateway.events("spans_not_exported")) == 1
    again = Collector(python, tmp_path, collector.port)
    answer = send(gateway, ask(marker))
    assert again.of(answer.headers["X-Request-Id"], CHAT)
    wait_until(lambda: gateway.events("spans_exported_again"), "it says so")
    again.close()
    assert gateway.stop() == 0
    assert [e["event"] for e in gateway.log() if e["level"] == "error"] == ["spans_not_exported"]


def test_a_collector_that_never_answers_holds_up_no_end(start: Start, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = start(
            PROXY_OTEL="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            PROXY_OTEL_TIMEOUT_MS="86400000",
        )
        assert send(gateway, ask(upstream.say("hello"))).status_code == 200
        connection, _ = silent.accept()
        with connection:
            assert gateway.stop() == 0
    (lost,) = gateway.events("spans_lost")
    assert lost["spans"] >= 4


def failed(gateway: Gateway) -> float:
    return total(scrape(gateway), "codex_spans_total", result="failed")


def test_where_it_is_off_nothing_of_it_is_loaded(start: Start, upstream: Upstream) -> None:
    gateway = start()
    assert send(gateway, ask(upstream.say("hello")), traceparent=SAMPLED).status_code == 200
    assert not has_loaded_protobuf(gateway)


def test_where_it_is_on_the_packages_are_loaded(traced: Gateway) -> None:
    assert has_loaded_protobuf(traced)


def has_loaded_protobuf(gateway: Gateway) -> bool:
    """Its library in C is what can be seen from outside."""
    (worker,) = gateway.workers()
    return any("google/_upb" in mapped.path for mapped in worker.memory_maps())
