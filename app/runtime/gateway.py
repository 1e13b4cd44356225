"""What one worker generation runs beside its requests: the child, maybe the demo upstream, and their end."""

from __future__ import annotations

import logging

import gevent

from app.codex.client import Codex
from app.errors import Draining
from app.runtime.demo import DemoUpstream

log = logging.getLogger("codex_api.runtime")


class Gateway:
    """Started by the supervisor greenlet, drained on TERM, stopped when the worker exits."""

    def __init__(self, codex: Codex, demo: DemoUpstream | None) -> None:
        self.codex = codex
        self._demo = demo

    def run(self) -> None:
        """Keep the processes alive. Blocks: this is the supervisor greenlet."""
        if self._demo is not None:
            log.warning(
                "demo_upstream_serves",
                extra={
                    "meaning": "No login was ever made here, so scripted answers are served through the real codex.",
                    "remedy": "Run: flask --app wsgi codex login, then reload (kill -HUP).",
                },
            )
            gevent.spawn(self._demo.run)
        self.codex.run()

    def drain(self, grace_s: float) -> None:
        """Report not ready, let running turns finish for `grace_s`, then end the rest. Blocks."""
        self.codex.begin_drain()
        log.info("drain_began", extra={"grace_s": grace_s, "running": self.codex.admission.running})
        gevent.sleep(grace_s)
        log.warning("drain_grace_over", extra={"running": self.codex.admission.running})
        self.codex.end_turns(Draining("This worker is shutting down; send the request again."))

    def stop(self) -> None:
        """End the processes. Blocks until they are gone."""
        self.codex.stop()
        if self._demo is not None:
            self._demo.stop()
