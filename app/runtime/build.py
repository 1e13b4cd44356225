"""What one worker generation runs, made from its settings."""

from __future__ import annotations

from codex_cli_bin import bundled_codex_path

from app.answers.model_names import Names
from app.api.models import warn_of_dangling
from app.backends.app_server.backend import AppServerBackend
from app.backends.app_server.limits import Limits
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.runtime.demo import DemoUpstream
from app.runtime.maintenance import MaintenanceSwitch
from app.runtime.shutdown import GracePeriods
from app.runtime.worker_services import WorkerServices
from app.settings import Settings
from app.version import VERSION


def build_gateway(settings: Settings) -> WorkerServices:
    """Decide who answers in the end, and wire the child to it."""
    home = Home(settings.codex_home)
    demo: DemoUpstream | None = None
    if settings.upstream_url:
        upstream = Upstream(
            UpstreamKind.CONFIGURED,
            settings.upstream_url,
            has_key=bool(settings.upstream_api_key),
            websockets=settings.upstream_websockets,
        )
    elif settings.env == "prod" or home.was_login_configured():
        upstream = Upstream(UpstreamKind.OPENAI)
    else:
        demo = DemoUpstream()
        upstream = Upstream(UpstreamKind.DEMO, demo.base_url)
    patience = GracePeriods(settings.shutdown_grace_ms / 1000, settings.reload_patience_ms / 1000)
    maintenance = MaintenanceSwitch(configured=settings.maintenance_mode)
    return WorkerServices(_build_codex(settings, upstream), demo, patience, maintenance)


def _build_codex(settings: Settings, upstream: Upstream) -> AppServerBackend:
    launcher = Launcher(
        Home(settings.codex_home),
        settings.codex_bin or bundled_codex_path(),
        upstream,
        settings.upstream_api_key,
        settings.request_timeout_ms,
    )
    limits = Limits(
        max_concurrency=settings.max_concurrency,
        queue_max=settings.queue_max,
        queue_timeout_ms=settings.queue_timeout_ms,
        rpc_timeout_ms=settings.rpc_timeout_ms,
        startup_timeout_ms=settings.startup_timeout_ms,
        backoff_initial_ms=settings.backoff_initial_ms,
        backoff_max_ms=settings.backoff_max_ms,
        probe_interval_ms=settings.probe_interval_ms,
        probe_timeout_ms=settings.probe_timeout_ms,
        memory_bytes=settings.memory_limit_bytes,
    )
    names = Names(settings.model_aliases, settings.default_model)
    return AppServerBackend(
        launcher, limits, VERSION, lambda models: warn_of_dangling(models, names)
    )
