"""Finished requests on their way to an exporter: what is recorded, in whose trace, and what finds no room."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import gevent
import pytest

from app import create_app
from app.observability.requests import RequestRecord
from app.observability.span_recorder import MAX_WAITING, SpanRecorder
from app.observability.spans import SpanData
from app.observability.traces import Trace
from app.settings import ROOT, SettingsError, load_settings

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Exporter:
    def __init__(self) -> None:
        self.spans: list[SpanData] = []
        self.result: Callable[[], bool] = lambda: True

    def __call__(self, spans: Sequence[SpanData], before_s: float) -> bool:
        is_taken = self.result()
        self.spans += spans if is_taken else []
        return is_taken


class Story:
    def __init__(self, *, is_split: bool = False) -> None:
        self.exporter = Exporter()
        self.lost = 0
        self.sent: list[tuple[bool, int]] = []
        self.recorder = SpanRecorder(
            self.exporter, self._lose, self._note, is_split=is_split, gather_s=0.0
        )

    def _lose(self, count: int) -> None:
        self.lost += count

    def _note(self, is_sent: bool, count: int) -> None:
        self.sent.append((is_sent, count))

    def end(self, key: str | None = "ann", traceparent: str | None = None) -> RequestRecord:
        """Let one request begin and end."""
        record = RequestRecord("req_1", "POST", route="/v1/x", key_name=key)
        record.span = self.recorder.begin(traceparent, "http")
        record.listeners += [record.span] if record.span else []
        record.write()
        return record

    def run(self) -> None:
        self.recorder.start()
        self.recorder.stop()


def test_a_request_is_recorded_where_its_caller_records() -> None:
    story = Story()
    story.end(traceparent=f"00-{TRACE}-{CALLER}-01")
    story.end(traceparent=f"00-{TRACE}-{CALLER}-00")
    story.end(traceparent="nonsense")
    story.end(key=None)
    story.run()
    (first, second) = story.exporter.spans
    assert (first.trace_id, first.parent_id) == (TRACE, CALLER)
    assert second.trace_id != TRACE
    assert second.parent_id is None
    assert story.sent == [(True, 2)]


def test_a_turn_may_end_before_its_request_or_after() -> None:
    story = Story()
    record = RequestRecord("req_1", "POST", key_name="ann")
    record.span = story.recorder.begin(None, "http")
    assert record.span is not None
    record.listeners.append(record.span)
    record.note_wait(1.0, 2.0)
    record.span.turn_ended(record, Trace("req_1", 1.0, 2.0, 3))
    record.write()
    record.span.turn_ended(record, Trace("req_1", 1.0, 2.0, 3))
    story.run()
    assert [span.name for span in story.exporter.spans] == ["POST", "queue", "chat", "chat"]
    request, *others = story.exporter.spans
    assert {span.parent_id for span in others} == {request.span_id}


def test_what_finds_no_room_is_counted_and_what_is_sent_makes_room() -> None:
    story = Story()
    for _ in range(MAX_WAITING + 3):
        story.end()
    assert story.lost == 3
    story.run()
    assert len(story.exporter.spans) == MAX_WAITING
    story.end()
    assert story.lost == 3


def test_a_key_leaves_room_for_others() -> None:
    story = Story(is_split=True)
    for _ in range(MAX_WAITING):
        story.end("greedy")
    assert story.lost > 0
    before = story.lost
    story.end("other")
    assert story.lost == before


def test_failures_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    caplog.set_level(logging.INFO)
    story.recorder.start()
    steps: list[Callable[[], bool]] = [lambda: False, lambda: bool(1 // 0), lambda: True]
    for number, story.exporter.result in enumerate(steps, 1):
        story.end()
        while len(story.sent) < number:
            gevent.sleep(0.001)
    story.recorder.stop()
    assert story.sent == [(False, 1), (False, 1), (True, 1)]
    lines = [line for line in caplog.records if line.name == "codex_api.traces"]
    assert [line.message for line in lines] == ["spans_not_exported", "spans_exported_again"]
    assert vars(lines[0])["reason"] == "not_taken"


def test_a_defect_is_told_from_a_collector(caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    story.exporter.result = lambda: bool(1 // 0)
    story.end()
    story.run()
    (line,) = [line for line in caplog.records if line.message == "spans_not_exported"]
    assert vars(line)["reason"] == "ZeroDivisionError"


def test_where_it_is_on_and_the_packages_are_missing_the_settings_are_refused(
    tmp_path: Path,
) -> None:
    given = {
        "PROXY_API_KEY": "x" * 32,
        "CODEX_HOME": str(tmp_path),
        "CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1",
    }
    with pytest.raises(SettingsError, match=r"pip install -r requirements-otel\.txt") as refused:
        create_app(load_settings(given | {"PROXY_OTEL": "true"}))
    assert len(refused.value.problems) == 1
    app = create_app(load_settings(given))
    assert app.extensions["worker_services"].spans is None


def test_only_one_module_knows_opentelemetry() -> None:
    found = [
        path.name
        for path in (ROOT / "app").rglob("*.py")
        if "\nfrom opentelemetry" in path.read_text() or "import opentelemetry" in path.read_text()
    ]
    assert found == ["otlp.py"]
    code = "import sys, app; sys.exit('app.observability.otlp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
