from __future__ import annotations

import time

import gevent
import pytest

from app.observability.loop_watch import LoopWatch
from app.observability.metrics import Metrics
from tests.fakes.waiting import eventually


def samples(metrics: Metrics) -> dict[str, float]:
    (family,) = metrics.loop_delay_ms.collect()
    return {f"{one.name}{one.labels.get('le', '')}": one.value for one in family.samples}


def test_a_loop_that_is_held_up_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "codex_api.loop")
    metrics = Metrics()
    watch = LoopWatch(metrics)
    watch.start()
    gevent.sleep(0)
    ends_at = time.thread_time() + 0.2
    while time.thread_time() < ends_at:
        pass
    eventually(lambda: caplog.records, lambda: "no line")
    watch.stop()
    (line,) = [vars(record) for record in caplog.records][:1]
    assert line["message"] == "loop_delayed"
    assert line["delay_ms"] >= 150
    assert line["cpu_ms"] >= 150
    counted = samples(metrics)
    assert counted["codex_loop_delay_ms_bucket100.0"] < counted["codex_loop_delay_ms_count"]


def test_it_measures_until_it_is_stopped() -> None:
    metrics = Metrics()
    watch = LoopWatch(metrics)
    watch.stop()
    watch.start()
    eventually(lambda: samples(metrics)["codex_loop_delay_ms_count"] >= 2, lambda: "no delays")
    watch.stop()
    counted = samples(metrics)["codex_loop_delay_ms_count"]
    gevent.sleep(0.1)
    assert samples(metrics)["codex_loop_delay_ms_count"] == counted
