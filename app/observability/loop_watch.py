"""Delay of the event loop: a greenlet that measures how much later than asked it runs.

All requests share one loop, so whatever keeps it makes everybody wait. The thread's own CPU time is measured beside
the clock: it tells work of ours from a machine that is too busy to run us.
"""

from __future__ import annotations

import logging
import time

import gevent

from app.observability.metrics import Metrics

log = logging.getLogger("codex_api.loop")

_EVERY_S = 0.025
_NOTABLE_MS = 50.0


class LoopWatch:
    """See the module. Every delay is counted; one of 50 ms or more is a line in the log at `debug`."""

    def __init__(self, metrics: Metrics) -> None:
        self._delays = metrics.loop_delay_ms
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Begin to measure, until `stop`. Does not block."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Measure no more."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def _run(self) -> None:
        while True:
            began, cpu_began = time.monotonic(), time.thread_time()
            gevent.sleep(_EVERY_S)
            delay_ms = max(0.0, 1000 * (time.monotonic() - began - _EVERY_S))
            self._delays.observe(delay_ms)
            if delay_ms < _NOTABLE_MS:
                continue
            cpu_ms = 1000 * (time.thread_time() - cpu_began)
            log.debug(
                "loop_delayed",
                extra={"delay_ms": round(delay_ms, 1), "cpu_ms": round(cpu_ms, 1)},
            )
