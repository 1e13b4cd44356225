"""What gunicorn's hooks do, once the worker is patched and may import the application."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import gevent

from app.runtime.gateway import Gateway


def gateway_of(worker: Any) -> Gateway:
    """Return the gateway of the application that the worker loaded."""
    gateway: Gateway = worker.wsgi.extensions["gateway"]
    return gateway


def supervise(worker: Any) -> None:
    """Run the supervisor. This is the body of the greenlet that `post_fork` spawned; blocks for the worker's life."""
    if signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL:
        # A child born before gunicorn reset this signal would never be reaped.
        raise RuntimeError("the supervisor ran before the worker had reset its signals")
    gateway_of(worker).run()


_IDLE_S = 0.5
_LOOK_EVERY_S = 0.25


def drain_on_term(worker: Any, grace_s: float) -> None:
    """Let TERM also begin the gateway's own drain; gunicorn's part (stop accepting) stays as it is."""
    gateway = gateway_of(worker)
    retired = False
    stop_accepting = signal.getsignal(signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        # A signal handler runs between two instructions of any greenlet: hand over to the hub, do nothing here.
        nonlocal retired
        if not retired:  # the master repeats its TERM every second
            retired = True
            schedule = gevent.get_hub().loop.run_callback_threadsafe
            schedule(gevent.spawn, gateway.drain, grace_s)
            schedule(gevent.spawn, _close_idle_connections, worker)
        if callable(stop_accepting):
            stop_accepting(number, frame)

    signal.signal(signal.SIGTERM, on_term)


def _close_idle_connections(worker: Any) -> None:
    """Until the worker exits, close what is idle; again and again, as busy connections become idle ones."""
    while True:
        worker.close_idle(_IDLE_S)
        gevent.sleep(_LOOK_EVERY_S)


def stop(worker: Any) -> None:
    """End the worker's processes; runs in the worker, after its last request."""
    gateway_of(worker).stop()
