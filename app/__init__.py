"""The gateway: OpenAI's API outside, one supervised `codex app-server` child inside.

`create_app` is the only place that wires the layers together. Their modules are imported inside its functions, so that
the demo upstream, a process of its own in this package, starts without loading Flask.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

    from app.codex.client import Codex
    from app.codex.config import Upstream
    from app.edge.auth import Access
    from app.runtime.demo import DemoUpstream
    from app.runtime.gateway import Gateway
    from app.settings import Settings

VERSION = "0.1.0"

log = logging.getLogger("codex_api.settings")


def create_app(settings: Settings | None = None) -> Flask:
    """Return the WSGI application. Starts no process: gunicorn's hooks run `extensions["gateway"]`.

    Raises `SettingsError` with every problem at once.
    """
    from flask import Flask  # noqa: PLC0415

    from app import api  # noqa: PLC0415
    from app.cli import group  # noqa: PLC0415
    from app.edge import auth, context, cors, error_handlers, life, maintenance  # noqa: PLC0415

    settings = settings or _load_settings()
    app = Flask(__name__, static_folder=None)
    # No redirect for a trailing or doubled slash: clients lose their Authorization header on one.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    _configure(app, settings, _build_gateway(settings))
    _bound(app, settings)
    _observe(app, settings)
    access = api.access_by_blueprint(protect_models=settings.protect_models)
    life.init_app(app, app.extensions["counters"])
    context.init_app(app, [app.extensions["metrics"], app.extensions["login_watch"]])
    cors.init_app(app, settings.cors_origins)  # before auth: a preflight carries no key
    auth.init_app(app, _keys(settings), access)
    # After auth: nobody without a key learns of it.
    maintenance.init_app(app, app.extensions["gateway"].maintenance)
    _limit(app, settings, access)  # after auth: whoever has no key is not even counted
    error_handlers.init_app(app)
    api.init_app(app, has_admin=bool(settings.operator_key))
    app.cli.add_command(group.group)
    return app


def _keys(settings: Settings) -> dict[Access, Mapping[str, str]]:
    """Return what opens which door."""
    from app.edge.auth import Access  # noqa: PLC0415

    return {
        Access.KEY: settings.client_keys,
        Access.METRICS: {"metrics": settings.metrics_token or settings.api_key},
        Access.ADMIN: {"admin": settings.operator_key} if settings.operator_key else {},
    }


def _limit(app: Flask, settings: Settings, access: Mapping[str, Access]) -> None:
    """Hold each key to its limits."""
    from app.edge import limits  # noqa: PLC0415
    from app.edge.limit_files import LimitFiles  # noqa: PLC0415
    from app.edge.limit_windows import Store  # noqa: PLC0415
    from app.observability.metrics import Metrics  # noqa: PLC0415

    metrics: Metrics = app.extensions["metrics"]
    store: Store = LimitFiles(settings.codex_home / "limits")
    if settings.rate_limit_storage != "memory://":
        from app.edge.limit_redis import LimitRedis  # noqa: PLC0415  (its library only where it is used)

        store = LimitRedis(settings.rate_limit_storage, store, metrics.uncounted.inc)
    windows = {**dict.fromkeys(settings.client_keys, settings.rate_limit), **settings.rate_limits}
    of_keys = limits.KeyLimits(store, windows, settings.key_max_concurrency, metrics.uncounted.inc)
    metrics.know_keys(settings.client_keys)
    limits.init_app(app, of_keys, access, app.extensions["codex"].account)


def _observe(app: Flask, settings: Settings) -> None:
    """Let metrics and traces see what happens."""
    from app.observability.gauges import Gauges  # noqa: PLC0415
    from app.observability.login import LoginWatch  # noqa: PLC0415
    from app.observability.metrics import Metrics  # noqa: PLC0415
    from app.observability.trace_buffer import TraceBuffer  # noqa: PLC0415
    from app.observability.trace_files import folder_of  # noqa: PLC0415

    gateway: Gateway = app.extensions["gateway"]
    codex = gateway.codex
    metrics = Metrics()
    app.extensions["metrics"] = metrics
    app.extensions["login_watch"] = LoginWatch(codex.login)
    traces = TraceBuffer(
        folder_of(settings.codex_home),
        metrics.overflows.labels("trace").inc,
        is_on=settings.trace_buffer,
        has_content=settings.trace_content,
    )
    app.extensions["traces"] = gateway.traces = traces
    app.extensions["gauges"] = Gauges(
        metrics,
        codex.status,
        traces.entries,
        lambda: gateway.maintenance.state().is_on,
        codex.account,
    )
    codex.supervisor.on_restart = metrics.restarts.inc
    codex.supervisor.on_replaced = lambda reason: metrics.replacements.labels(reason).inc()


def _load_settings() -> Settings:
    from app.settings import advice, load_settings, read_environment, unknown_names  # noqa: PLC0415

    variables = read_environment()
    for name in unknown_names(variables):
        log.warning("setting_unknown", extra={"name_given": name})
    settings = load_settings(variables)
    for name, sentence in advice(settings):
        log.warning("setting_advice", extra={"setting": name, "meaning": sentence})
    return settings


def _configure(app: Flask, settings: Settings, gateway: Gateway) -> None:
    """Hand every layer above codex what it needs of the settings."""
    from app.codex.reasoning import ReasoningStore  # noqa: PLC0415
    from app.codex.turn import Pace  # noqa: PLC0415
    from app.translation.models import Names  # noqa: PLC0415

    app.config.update(
        LOG_LEVEL=settings.log_level,
        BODY_TIMEOUT_S=settings.body_timeout_ms / 1000,
        MAX_BODY_BYTES=settings.max_body_bytes,
        MAX_CHOICES=min(settings.max_choices, settings.max_concurrency),
        SHOWS_REASONING=settings.reasoning == "reasoning_content",
        SYSTEM_FINGERPRINT=f"fp_codex_{VERSION.replace('.', '_')}",
        VERSIONS={"gateway": VERSION},
    )
    app.extensions["gateway"] = gateway
    app.extensions["codex"] = gateway.codex
    app.extensions["counters"] = gateway.codex.admission.counters  # one book for the whole worker
    app.extensions["reload_report"] = gateway.reload_report
    app.extensions["launcher"] = gateway.codex.launcher
    app.extensions["reasoning"] = ReasoningStore()
    app.extensions["model_names"] = Names(settings.model_aliases, settings.default_model)
    app.extensions["pace"] = Pace(
        first_s=settings.request_timeout_ms / 1000,
        total_s=settings.timeout_ms / 1000,
        commit_s=settings.stream_commit_ms / 1000,
        tick_s=settings.sse_keepalive_ms / 1000,
    )


def _bound(app: Flask, settings: Settings) -> None:
    """Give the edge what it holds in memory, each with its bound."""
    from app.edge.body_memory import BLOCK_BYTES, BodyMemory  # noqa: PLC0415
    from app.edge.image_cache import ImageCache  # noqa: PLC0415
    from app.edge.image_download import Limits  # noqa: PLC0415
    from app.edge.images import ImageFetcher  # noqa: PLC0415
    from app.edge.open_streams import OpenStreams  # noqa: PLC0415
    from app.settings import BODIES_AT_ONCE  # noqa: PLC0415

    # One body of the longest kind always fits, with the block that finds its end.
    bodies = max(settings.body_memory_bytes, settings.max_body_bytes) + BLOCK_BYTES
    app.extensions["body_memory"] = BodyMemory(bodies, BODIES_AT_ONCE)
    most = settings.max_body_bytes * 3 // 4  # as data URLs they are as long as the longest body
    app.extensions["images"] = ImageFetcher(
        enabled=settings.fetch_images,
        limits=Limits(image_bytes=min(20 << 20, most), request_bytes=most),
        cache=ImageCache(settings.image_cache_bytes),
    )
    app.extensions["open_streams"] = OpenStreams(settings.sse_max_concurrency)


def _build_gateway(settings: Settings) -> Gateway:
    """Decide who answers in the end, and wire the child to it."""
    from app.codex.config import Upstream, UpstreamKind  # noqa: PLC0415
    from app.codex.home import Home  # noqa: PLC0415
    from app.runtime.demo import DemoUpstream  # noqa: PLC0415
    from app.runtime.departure import Patience  # noqa: PLC0415
    from app.runtime.gateway import Gateway  # noqa: PLC0415
    from app.runtime.maintenance import MaintenanceSwitch  # noqa: PLC0415

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
    from codex_cli_bin import bundled_codex_path  # noqa: PLC0415

    from app.api.models import warn_of_dangling  # noqa: PLC0415
    from app.codex.client import Codex  # noqa: PLC0415
    from app.codex.home import Home  # noqa: PLC0415
    from app.codex.launch import Launcher  # noqa: PLC0415
    from app.codex.limits import Limits  # noqa: PLC0415
    from app.translation.models import Names  # noqa: PLC0415

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
