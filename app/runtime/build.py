"""What one worker generation runs, made from its settings."""

from __future__ import annotations

from codex_cli_bin import bundled_codex_path

from app.api.models import warn_of_dangling
from app.codex.client import Codex
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.codex.limits import Limits
from app.runtime.demo import DemoUpstream
from app.runtime.departure import Patience
from app.runtime.gateway import Gateway
from app.runtime.maintenance import MaintenanceSwitch
from app.settings import Settings
from app.translation.models import Names
from app.version import VERSION


def build_gateway(settings: Settings) -> Gateway:
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
    patience = Patience(settings.shutdown_grace_ms / 1000, settings.reload_patience_ms / 1000)
    maintenance = MaintenanceSwitch(configured=settings.maintenance_mode)
    return Gateway(_build_codex(settings, upstream), demo, patience, maintenance)


def _build_codex(settings: Settings, upstream: Upstream) -> Codex:
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
    return Codex(launcher, limits, VERSION, lambda models: warn_of_dangling(models, names))
