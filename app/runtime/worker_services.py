"""Services that one worker generation runs beside its requests: the backend, maybe the demo upstream, and their end."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

import gevent

from app.answer_store.stored_answer import AnswerStore
from app.backend.engine import Engine
from app.errors import Draining
from app.http.background_answers import BackgroundAnswers
from app.observability.loop_watch import LoopWatch
from app.observability.span_recorder import SpanRecorder
from app.observability.trace_buffer import TraceBuffer
from app.observability.usage_recorder import UsageRecorder
from app.process.lifecycle import LastExit
from app.runtime.demo import DemoUpstream
from app.runtime.layout import ReloadRecord, ReloadState
from app.runtime.maintenance import SharedMaintenanceFlag
from app.runtime.shared import SharedState
from app.runtime.shutdown import GracePeriods, ShutdownPlan

log = logging.getLogger("codex_api.runtime")


class WorkerServices:
    """Started by the supervisor greenlet, told to go by the worker's main loop, stopped when the worker exits.

    `shared` is memory of its own until a worker adopts the application.
    """

    def __init__(
        self,
        engine: Engine,
        demo: DemoUpstream | None,
        grace: GracePeriods,
        maintenance: SharedMaintenanceFlag,
    ) -> None:
        self.engine = engine
        self.backend = engine.backend
        self.grace = grace
        self.maintenance = maintenance
        self.shared = SharedState.private()
        self.worker_generation = 0
        self.traces: TraceBuffer | None = None
        self.spans: SpanRecorder | None = None
        self.loop_watch: LoopWatch | None = None
        self.answer_store: AnswerStore | None = None
        self.usage: UsageRecorder | None = None
        self.background: BackgroundAnswers | None = None
        self._demo = demo
        self._reported: LastExit | None = None

    def adopt(self, shared: SharedState, worker_generation: int) -> None:
        """Take the memory that the master shares with its workers, and the number of this one."""
        self.shared, self.worker_generation = shared, worker_generation
        self.maintenance.adopt(shared)

    def run(self) -> None:
        """Keep the processes alive. Blocks: this is the supervisor greenlet."""
        if self._demo is not None:
            log.warning(
                "demo_upstream_serves",
                extra={
                    "meaning": "No login was ever made here, so scripted answers are served through the real codex.",
                    "remedy": "Run: .venv/bin/flask --app wsgi codex login, then reload (kill -HUP).",
                },
            )
            gevent.spawn(self._demo.run)
        if self.traces is not None:
            self.traces.start()
        if self.spans is not None:
            self.spans.start()
        if self.loop_watch is not None:
            self.loop_watch.start()
        if self.answer_store is not None:
            self.answer_store.start()
        if self.usage is not None:
            self.usage.start()
        self.backend.run()

    # A successor, before its turn

    def wait_ready(self, timeout_s: float) -> bool:
        """Block until the child has shaken hands or the time is up; until it has, say in shared memory why not."""
        if self.backend.wait_ready(timeout_s):
            return True
        status = self.backend.health()
        last = status.last_exit
        text = "The codex process of the new worker is starting."
        if status.reason in {"login_renewal", "login_renewal_hangs"}:
            text = "The codex process of the new worker waits for the accounts server to renew the login."
        elif last is not None:
            code = "" if last.exit_code is None else f", exit code {last.exit_code}"
            detail = f": {last.detail}" if last.detail else "."
            text = (
                f"The codex process of the new worker does not start: {last.reason}{code}{detail}"
            )
            if last != self._reported:
                log.warning(
                    "reload_waits", extra={"reason": last.reason, "exit_code": last.exit_code}
                )
        self._reported = last
        self.shared.successor = ReloadRecord(
            ReloadState.STARTING, self.worker_generation, time.time(), text
        )
        return False

    def reload_report(self) -> dict[str, Any]:
        """Return what became of the last HUP, for operators: `state`, `at` (UTC), `detail`, `waits_for`."""
        record, successor = self.shared.reload, self.shared.successor
        if record is None:
            return {"state": ReloadState.NONE.value, "at": None, "detail": None, "waits_for": None}
        is_waiting = successor is not None and successor.generation > self.shared.serving
        return {
            "state": record.state.value,
            "at": datetime.fromtimestamp(record.at, UTC).isoformat(timespec="milliseconds"),
            "detail": record.text or None,
            "waits_for": successor.text if successor is not None and is_waiting else None,
        }

    def worker_report(self) -> dict[str, Any]:
        """Return which worker this is, for operators, and which generation accepts: `pid`, `generation`, `serving`."""
        return {
            "pid": os.getpid(),
            "generation": self.worker_generation,
            "serving": self.shared.serving,
        }

    # Shutdown

    def begin_shutdown(self, plan: ShutdownPlan, now: float) -> None:
        """Log that this worker shuts down. Only where the whole service stops is it reported as not ready."""
        fields = {
            "grace_s": round(max(0.0, plan.cut_at - now), 3),
            "running": self.engine.admission.running,
        }
        if plan.is_stop:
            self.backend.begin_drain()
            log.info("drain_began", extra=fields)
        else:
            log.info("worker_retires", extra=fields)

    def end_turns(self) -> Draining:
        """End what still runs and begin no more; return the error that its clients get. Does not block."""
        error = Draining("This worker is shutting down; send the request again.")
        if self.engine.admission.running:
            log.warning("drain_grace_over", extra={"running": self.engine.admission.running})
        self.backend.end_turns(error)
        if self.background is not None:
            self.background.end(error)
        return error

    def is_idle(self) -> bool:
        """Return True if nothing runs that no request carries. Does not block."""
        return self.background is None or self.background.is_idle

    def stop(self) -> None:
        """End the processes. Blocks until they are gone."""
        ends = [gevent.spawn(self.backend.stop)]
        if self._demo is not None:
            ends.append(gevent.spawn(self._demo.stop))
        gevent.joinall(ends)
        if self.traces is not None:  # after the child, whose end ends turns
            self.traces.stop()
        if self.spans is not None:
            self.spans.stop()
        if self.loop_watch is not None:
            self.loop_watch.stop()
        if self.usage is not None:  # before the store, which it writes to
            self.usage.stop()
        if self.answer_store is not None:
            self.answer_store.close()
