"""Configuration of gunicorn: one gevent worker, and the hooks that tie the codex child to its life.

Run anew at every HUP, in a master that must never import `app`: what the master has imported, a new worker would
inherit instead of loading it afresh. Hence `_forget` after each use of the few modules that are needed here.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# Everything that is written at run time is below CODEX_HOME, so no compiled files next to the sources.
sys.dont_write_bytecode = True
# What is loaded stays; to look through it again and again for what does not takes a fifth of the start.
gc.disable()
sys.path.insert(0, str(Path(__file__).resolve().parent))
# Until the master has handlers of its own, Ctrl-C ends it without a traceback; `make run` holds it back until here.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
os.environ["GATEWAY_CONFIGURED"] = (
    "true"  # for wsgi.py, which must not serve without what stands here
)


def _load(name: str) -> ModuleType:
    """Import one module of the application; whoever does calls `_forget` when all is loaded."""
    return importlib.import_module(name)


def _forget() -> None:
    """Let what comes next load every module of the application from disk."""
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[loaded]
    importlib.invalidate_caches()


_forget()
_logs = _load("app.observability.logs")
_logs.hold_standard_descriptors()

_settings_module = _load("app.settings")
try:
    _settings = _settings_module.load_settings()
except _settings_module.SettingsError as error:
    sys.exit("\n".join(error.problems))

# Everything that this process and its workers write is for this user only.
umask = 0o077
os.umask(umask)
if _problem := _load("app.runtime.state_folder").prepare(_settings.codex_home):
    sys.exit(_problem)

_load("app.runtime.compiled_code").keep_in(_settings.codex_home / "gateway" / "compiled")

_open_files = resource.getrlimit(resource.RLIMIT_NOFILE)

bind = _settings.address
_serving = _load("app.runtime.serving")
worker_class = _serving.ServingWorker
workers = 1
_descriptors_module = _load("app.settings.descriptors")
try:
    _descriptors = _descriptors_module.plan(
        _settings.connections,
        _settings.other_descriptors,
        soft=_open_files[0],
        hard=_open_files[1],
    )
except _descriptors_module.TooFew as error:
    sys.exit(str(error))
worker_connections = _descriptors.connections
# The kernel drops a connection that finds its queue full, and the client tries again only after a second.
backlog = 4096
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
_load("app.runtime.pid_file").remove_stale(Path(pidfile))
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(_settings.codex_home)  # noqa: S108
logconfig_dict = _logs.log_config(
    _settings.log_level,
    _settings.log_format,
    colours=not os.environ.get("NO_COLOR"),  # no-color.org
)
logger_class = _load("app.runtime.gunicorn_log").GunicornLog

_metric_files = _load("app.observability.metric_files")
_metrics_folder = _metric_files.folder_of(_settings.codex_home)
_forget()
gc.enable()


_ADDRESS_PATIENCE_S = 3


def on_starting(server: Any) -> None:
    """Refuse what the gateway cannot run under, and make the master one that reloads without a gap."""
    if refusals := [*_refused_options(server.cfg)]:
        _give_up(server, " ".join([*refusals, "Look at the command line and GUNICORN_CMD_ARGS."]))
    _await_address(server)
    _logs.queue_stderr()
    # A master that USR2 started has another one above it, whose workers still count.
    _metric_files.prepare(_metrics_folder, fresh=server.master_pid == 0)
    # The arbiter outlives the next reading of this file, and with it the memory that all its workers share.
    ready_pipe = os.environ.pop(_load("app.runtime.upgrade").READY_PIPE, "")
    _load("app.runtime.arbiter").OverlapArbiter.adopt(server, ready_pipe)
    _forget()


def _refused_options(config: Any) -> Iterator[str]:
    """Yield sentences about options of gunicorn's that would replace what this file sets."""
    if config.workers != 1 or os.environ.get("WEB_CONCURRENCY", "1") != "1":
        yield (
            "The gateway runs exactly one gunicorn worker: take -w and --workers away, and unset WEB_CONCURRENCY. For "
            "more capacity run several services, each with its own PORT and CODEX_HOME, behind a proxy."
        )
    if config.worker_class is not worker_class:
        yield "The gateway has a worker class of its own: take -k, --worker-class and --threads away."
    if config.preload_app:
        yield "The application is loaded by the worker, so that a reload loads it afresh: take --preload away."
    if config.reload:
        yield "gunicorn's reloader would cut off streams: take --reload away; make dev reloads when the code changes."


def _give_up(server: Any, sentence: str) -> NoReturn:
    server.pidfile.unlink()
    sys.exit(sentence)


def _await_address(server: Any) -> None:
    """Wait a little for the address, which a service that ends may still have; then say whose it is, and exit."""
    if server.master_pid or "LISTEN_FDS" in os.environ:
        return  # the socket is handed over
    address = _load("app.runtime.address")
    for host, port in [bound for bound in server.cfg.address if isinstance(bound, tuple)]:
        patience = time.monotonic() + _ADDRESS_PATIENCE_S
        while address.is_taken(host, port) and time.monotonic() < patience:
            time.sleep(0.2)
        if problem := address.problem(host, port):
            _give_up(server, problem)


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

    gc.disable()  # until the application is loaded
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
