"""The application factory: the only place that wires the layers together."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flask import Flask

from app import api
from app.answers.model_names import Names
from app.answers.reasoning_cache import ReasoningCache
from app.backends.app_server.turn import Pace
from app.cli import group
from app.http import (
    auth,
    cors,
    error_handlers,
    key_limits,
    maintenance,
    request_context,
    request_lifetime,
)
from app.http.auth import Access
from app.http.body_budget import BLOCK_BYTES, BodyBudget
from app.http.limit_store import LimitStore
from app.http.open_streams import OpenStreams
from app.images.cache import ImageCache
from app.images.download import Limits
from app.images.fetcher import ImageFetcher
from app.observability.gauges import Gauges
from app.observability.login import LoginWatch
from app.observability.metrics import Metrics
from app.observability.trace_buffer import TraceBuffer
from app.observability.trace_files import folder_of
from app.runtime.build import build_gateway
from app.runtime.worker_services import WorkerServices
from app.settings import (
    BODIES_AT_ONCE,
    Settings,
    advice,
    load_settings,
    read_environment,
    unknown_names,
)
from app.version import VERSION

log = logging.getLogger("codex_api.settings")


def create_app(settings: Settings | None = None) -> Flask:
    """Return the WSGI application. Starts no process: gunicorn's hooks run `extensions["gateway"]`.

    Raises `SettingsError` with every problem at once.
    """
    settings = settings or _load_settings()
    app = Flask(__name__, static_folder=None)
    # No redirect for a trailing or doubled slash: clients lose their Authorization header on one.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    _configure(app, settings, build_gateway(settings))
    _bound(app, settings)
    _observe(app, settings)
    access = api.access_by_blueprint(protect_models=settings.protect_models)
    request_lifetime.init_app(app, app.extensions["counters"])
    request_context.init_app(app, [app.extensions["metrics"], app.extensions["login_watch"]])
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
    return {
        Access.KEY: settings.client_keys,
        Access.METRICS: {"metrics": settings.metrics_token or settings.api_key},
        Access.ADMIN: {"admin": settings.operator_key} if settings.operator_key else {},
    }


def _limit(app: Flask, settings: Settings, access: Mapping[str, Access]) -> None:
    """Hold each key to its limits."""
    metrics: Metrics = app.extensions["metrics"]
    windows = {**dict.fromkeys(settings.client_keys, settings.rate_limit), **settings.rate_limits}
    store = None
    if any(windows.values()):
        store = LimitStore(app, settings.rate_limit_storage, windows, metrics.uncounted.inc)
    of_keys = key_limits.KeyLimits(store, settings.key_max_concurrency)
    metrics.know_keys(settings.client_keys)
    key_limits.init_app(app, of_keys, access, app.extensions["codex"].account)


def _observe(app: Flask, settings: Settings) -> None:
    """Let metrics and traces see what happens."""
    gateway: WorkerServices = app.extensions["gateway"]
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
    variables = read_environment()
    for name in unknown_names(variables):
        log.warning("setting_unknown", extra={"name_given": name})
    settings = load_settings(variables)
    for name, sentence in advice(settings):
        log.warning("setting_advice", extra={"setting": name, "meaning": sentence})
    return settings


def _configure(app: Flask, settings: Settings, gateway: WorkerServices) -> None:
    """Hand every layer above codex what it needs of the settings."""
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
    app.extensions["reasoning"] = ReasoningCache()
    app.extensions["model_names"] = Names(settings.model_aliases, settings.default_model)
    app.extensions["pace"] = Pace(
        first_s=settings.request_timeout_ms / 1000,
        total_s=settings.timeout_ms / 1000,
        commit_s=settings.stream_commit_ms / 1000,
        tick_s=settings.sse_keepalive_ms / 1000,
    )


def _bound(app: Flask, settings: Settings) -> None:
    """Give the edge what it holds in memory, each with its bound."""
    # One body of the longest kind always fits, with the block that finds its end.
    bodies = max(settings.body_memory_bytes, settings.max_body_bytes) + BLOCK_BYTES
    app.extensions["body_memory"] = BodyBudget(bodies, BODIES_AT_ONCE)
    most = settings.max_body_bytes * 3 // 4  # as data URLs they are as long as the longest body
    app.extensions["images"] = ImageFetcher(
        enabled=settings.fetch_images,
        limits=Limits(image_bytes=min(20 << 20, most), request_bytes=most),
        cache=ImageCache(settings.image_cache_bytes),
    )
    app.extensions["open_streams"] = OpenStreams(settings.sse_max_concurrency)
