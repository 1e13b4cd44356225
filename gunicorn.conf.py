"""gunicorn: one gevent worker, and the hooks that tie the codex child to its life.

Run anew at every HUP, in a master that must never import `app`: what the master has imported, a new worker would
inherit instead of loading it afresh. Hence `_load` for the few modules that are needed here: it forgets them again.
"""

from __future__ import annotations

import importlib
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

bind = f"{_settings.host}:{_settings.port}"
worker_class = _load("app.runtime.worker").Worker
workers = 1
worker_connections = 2000
preload_app = False  # HUP must load the code afresh
keepalive = _settings.keepalive_s
timeout = 60  # a heartbeat of the worker's loop, not a limit for requests
# Longer than the gateway's own drain, which ends what is still open with a proper frame.
graceful_timeout = _settings.shutdown_grace_ms // 1000 + 8
max_requests = 0  # a replacement would start only after the last stream of the old worker
forwarded_allow_ips = _settings.trusted_proxies
http_parser = "python"
control_socket_disable = True
pidfile = str(_settings.codex_home / "gunicorn.pid")
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
umask = 0o077
logconfig_dict = _load("app.observability.logs").log_config(_settings.log_level)


def on_starting(server: Any) -> None:
    """Refuse more than one worker: each would run a child of its own."""
    if server.cfg.workers != 1:
        sys.exit("The gateway runs exactly one gunicorn worker: unset WEB_CONCURRENCY and -w.")


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Spawn the supervisor greenlet, and nothing else.

    This runs before the worker patches itself and resets its signals. The greenlet starts at the first turn of the
    hub, when both are done and the application is loaded.
    """
    import gevent  # noqa: PLC0415

    gevent.spawn(_supervise, worker)


def _supervise(worker: Any) -> None:
    from app.runtime import hooks  # noqa: PLC0415

    hooks.supervise(worker)


def post_worker_init(worker: Any) -> None:
    """Tie the gateway's drain to TERM."""
    from app.runtime import hooks  # noqa: PLC0415

    hooks.drain_on_term(worker, _settings.shutdown_grace_ms / 1000)


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """End the child before the worker goes."""
    if not hasattr(worker, "wsgi"):
        return  # it never got as far as loading the application
    from app.runtime import hooks  # noqa: PLC0415

    hooks.stop(worker)
