"""Construction of what one worker generation runs, from its settings: the one place that chooses a backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codex_cli_bin import bundled_codex_path

from app.backend.admission import Admission
from app.backend.engine import Engine
from app.backend.protocols import Backend
from app.backends.app_server.backend import AppServerBackend
from app.backends.app_server.kept_threads import KeptLimits
from app.backends.app_server.limits import Limits
from app.backends.app_server.warm_threads import WarmLimits
from app.backends.per_request.app_server_dialect import AppServerDialect
from app.backends.per_request.backend import PerRequestBackend
from app.backends.per_request.proto.dialect import ProtoDialect
from app.codex.config import Upstream, UpstreamKind
from app.codex.few_roots import FewRoots
from app.codex.home import Home
from app.codex.launch import Launcher
from app.codex.roots import hosts_of
from app.codex.upstream import choose_upstream
from app.runtime.demo import DemoUpstream
from app.runtime.maintenance import SharedMaintenanceFlag
from app.runtime.shutdown import GracePeriods
from app.runtime.worker_services import WorkerServices
from app.settings import Settings
from app.version import VERSION

BackendChoice = Callable[[Settings, Upstream], Backend]
"""Makes the backend that the settings ask for, in front of an upstream."""


def build_worker_services(
    settings: Settings, choose_backend: BackendChoice | None = None
) -> WorkerServices:
    """Choose the upstream, and make a backend in front of it. `choose_backend` replaces the one of the settings."""
    choose_backend = choose_backend or (app_server if settings.use_app_server else per_request)
    home = Home(settings.codex_home)
    upstream = choose_upstream(settings, home).upstream
    demo: DemoUpstream | None = None
    if upstream.kind is UpstreamKind.DEMO:
        demo = DemoUpstream()
        upstream = replace(upstream, base_url=demo.base_url)
    elif upstream.kind is UpstreamKind.OPENAI and settings.env != "prod":
        home.remember_login()  # without it, the removal of the login would bring the demo back
    grace = GracePeriods(settings.shutdown_grace_ms / 1000, settings.reload_patience_ms / 1000)
    maintenance = SharedMaintenanceFlag(configured=settings.maintenance_mode)
    backend = choose_backend(settings, upstream)
    admission = Admission(
        settings.max_concurrency, settings.queue_max, is_split=settings.has_several_keys
    )
    engine = Engine(backend, admission, settings.queue_timeout_ms / 1000)
    return WorkerServices(engine, demo, grace, maintenance)


def app_server(settings: Settings, upstream: Upstream) -> Backend:
    """Return the backend with one supervised app-server."""
    return AppServerBackend(
        _launcher(settings, upstream, settings.app_server_bin), _limits(settings), VERSION
    )


def per_request(settings: Settings, upstream: Upstream) -> Backend:
    """Return the backend with a process for each turn."""
    is_proto = settings.per_request_dialect == "proto"
    return PerRequestBackend(
        _launcher(settings, upstream, settings.codex_bin),
        _limits(settings),
        VERSION,
        most=settings.max_concurrency,
        spare=settings.per_request_spare,
        speak=ProtoDialect if is_proto else AppServerDialect,
    )


def _launcher(settings: Settings, upstream: Upstream, binary: Path | None) -> Launcher:
    return Launcher(
        Home(settings.codex_home),
        binary or bundled_codex_path(),
        upstream,
        settings.upstream_api_key,
        settings.request_timeout_ms,
        settings.ca_certificate,
        settings.upstream_models,
        few_roots=_few_roots(settings, upstream),
    )


def _few_roots(settings: Settings, upstream: Upstream) -> FewRoots | None:
    hosts = hosts_of(upstream) if settings.few_roots else ()
    return FewRoots(Home(settings.codex_home).private, hosts) if hosts else None


def _limits(settings: Settings) -> Limits:
    return Limits(
        rpc_timeout_ms=settings.rpc_timeout_ms,
        startup_timeout_ms=settings.startup_timeout_ms,
        backoff_initial_ms=settings.backoff_initial_ms,
        backoff_max_ms=settings.backoff_max_ms,
        probe_interval_ms=settings.probe_interval_ms,
        probe_timeout_ms=settings.probe_timeout_ms,
        memory_bytes=settings.memory_limit_bytes,
        kept=KeptLimits(settings.kept_threads, settings.kept_thread_ttl_s),
        warm=WarmLimits(settings.warm_threads),
    )
