"""Configuration of gunicorn: one gevent worker, and the hooks that tie the codex child to its life.

Run anew at every HUP, in a master that must never import `app`: what the master has imported, a new worker would
inherit instead of loading it afresh. Hence `_load` for the few modules that are needed here: it forgets them again.
"""

from __future__ import annotations

import importlib
import math
import os
import resource
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# Everything that is written at run time is below CODEX_HOME, so no compiled files next to the sources.
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))


def _load(name: str) -> ModuleType:
    """Import one module of the application from disk, and forget it and whatever of `app` came with it."""
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    for loaded in [other for other in sys.modules if other.partition(".")[0] == "app"]:
        del sys.modules[loaded]
    return module


_settings_module = _load("app.settings")
try:
    _settings = _settings_module.load_settings()
except _settings_module.SettingsError as error:
    sys.exit("\n".join(error.problems))

_settings.codex_home.mkdir(mode=0o700, parents=True, exist_ok=True)

_open_files = resource.getrlimit(resource.RLIMIT_NOFILE)

bind = f"{_settings.host}:{_settings.port}"
_serving = _load("app.runtime.serving")
worker_class = _serving.ServingWorker
workers = 1
_descriptors = _load("app.runtime.descriptors").plan(
    _settings.connections,
    _settings_module.OTHER_DESCRIPTORS,
    soft=_open_files[0],
    hard=_open_files[1],
)
worker_connections = _descriptors.connections
preload_app = False  # HUP must load the code afresh
keepalive = _settings.keepalive_s
timeout = 60  # a heartbeat of the worker's loop, not a limit for requests
# Longer than the gateway's own drain, which ends what is still open with a proper frame.
graceful_timeout = math.ceil(_settings.shutdown_grace_ms / 1000)
graceful_timeout += _load("app.runtime.shutdown").STOP_MARGIN_S
max_requests = 0  # a replacement would start only after the last stream of the old worker
forwarded_allow_ips = _settings.trusted_proxies
# One header, not gunicorn's three: where proxies in a row send different ones, every request would be refused.
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
forwarder_headers = ",".join(_load("app.runtime.forwarder_headers").CGI_NAMES)
http_parser = "python"
control_socket_disable = True
pidfile = str(_settings.codex_home / "gunicorn.pid")
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
umask = 0o077
_logs = _load("app.observability.logs")
logconfig_dict = _logs.log_config(_settings.log_level)

_metric_files = _load("app.observability.metric_files")
_metrics_folder = _metric_files.folder_of(_settings.codex_home)


def on_starting(server: Any) -> None:
    """Refuse more than one worker, and make the master one that reloads without a gap."""
    if server.cfg.workers != 1 or os.environ.get("WEB_CONCURRENCY", "1") != "1":
        server.pidfile.unlink()
        sys.exit(
            "The gateway runs exactly one gunicorn worker. Take -w and --workers off the command line and out of "
            "GUNICORN_CMD_ARGS, and unset WEB_CONCURRENCY. For more capacity run several services, each with its own "
            "PORT and CODEX_HOME, behind a proxy."
        )
    # A master that USR2 started has another one above it, whose workers still count.
    _metric_files.prepare(_metrics_folder, fresh=server.master_pid == 0)
    # The arbiter outlives the next reading of this file, and with it the memory that all its workers share.
    ready_pipe = os.environ.pop(_load("app.runtime.upgrade").READY_PIPE, "")
    _load("app.runtime.arbiter").OverlapArbiter.adopt(server, ready_pipe)


def on_reload(server: Any) -> None:  # noqa: ARG001
    """Make the folder of the metrics, should CODEX_HOME have changed."""
    _metric_files.prepare(_metrics_folder, fresh=False)


def pre_fork(server: Any, worker: Any) -> None:
    """Hand on the shared memory, and what the worker must know before it loads the application."""
    worker.memory = server.memory
    worker.lacks_descriptors = _descriptors.lacking
    worker.deadlines = _serving.Deadlines(
        head_s=_settings.head_timeout_ms / 1000,
        idle_s=_settings.keepalive_s,
        send_s=_settings.send_timeout_ms / 1000,
    )


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Spawn the supervisor greenlet, and nothing else.

    This runs before the worker patches itself, resets its signals and loads the application. The greenlet waits for
    all three: what the application loads may let others run (`limits` starts a thread for its memory).
    """
    import gevent  # noqa: PLC0415
    from gevent.event import Event  # noqa: PLC0415

    worker.is_loaded = Event()
    resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors.soft, _open_files[1]))
    # In the worker alone, and before the application imports the library, which looks only then.
    if _metric_files.reserve(_metrics_folder, os.getpid()):
        os.environ[_metric_files.VARIABLE] = str(_metrics_folder)
    _logs.add_fields(lambda: {"worker_generation": worker.age})
    if os.environ.pop("SCRIPT_NAME", ""):  # gunicorn would take it for the header
        worker.note_ignored(frozenset({"SCRIPT_NAME"}))
    gevent.spawn(_supervise, worker)


def _supervise(worker: Any) -> None:
    worker.is_loaded.wait()
    from app.runtime import hooks  # noqa: PLC0415

    hooks.supervise(worker)


def post_worker_init(worker: Any) -> None:
    """Give the application the shared memory."""
    from app.runtime import hooks  # noqa: PLC0415

    hooks.adopt(worker)
    worker.is_loaded.set()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """End the child before the worker goes."""
    if not hasattr(worker, "wsgi"):
        return  # it never got as far as loading the application
    from app.runtime import hooks  # noqa: PLC0415

    hooks.stop(worker)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Forget the gauges of a worker that is gone; runs in the master."""
    _metric_files.forget(_metrics_folder, worker.pid)
