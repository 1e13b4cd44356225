"""gunicorn's hooks, from when the worker is patched and may import the application."""

from __future__ import annotations

import gc
import signal
from typing import Any

from app.runtime.shared import SharedState
from app.runtime.worker_services import WorkerServices


def services_of(worker: Any) -> WorkerServices:
    """Return the services of the worker, which came with the application that it loaded."""
    services: WorkerServices = worker.wsgi.extensions["worker_services"]
    return services


def supervise(worker: Any) -> None:
    """Run the supervisor. This is the body of the greenlet that `post_fork` spawned; blocks until it ends."""
    if signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL:
        # A child that was started before gunicorn reset this signal would never be reaped.
        raise RuntimeError("the supervisor ran before the worker had reset its signals")
    services_of(worker).run()


def adopt(worker: Any) -> None:
    """Give the application what the worker has for it; take over what dead workers counted."""
    services_of(worker).adopt(SharedState(worker.memory), worker.age)
    # Where few files may be open, some connections stay free for health checks and operators.
    requests = worker.wsgi.extensions["requests_at_once"]
    requests.limit = min(requests.limit, worker.worker_connections - worker.room)
    worker.wsgi.extensions["services"].metrics.merge_dead_workers()
    _collect_less()


_YOUNG_OBJECTS = 10_000


def _collect_less() -> None:
    """Let the collector of garbage pass over what was loaded, and come less often.

    It stops every greenlet: while 100,000 values of a body were parsed it went through all of the application again and
    again, for 100 ms. Most of what a request makes is freed without it.
    """
    # Of what was loaded nearly nothing is garbage: to look for that would take a tenth of a second of the start.
    gc.freeze()
    gc.enable()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


def stop(worker: Any) -> None:
    """End the worker's processes; runs in the worker, after its last request."""
    services_of(worker).stop()
    worker.wsgi.extensions["services"].gauges.count_lost_lines()
