"""Application factory: the only place that wires the layers together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from flask import Flask

from app import api
from app.answer_store.choose import choose_store
from app.answer_store.stored_answer import AnswerStore, Hooks
from app.answers.answer_cache import AnswerCache
from app.answers.model_names import Names
from app.answers.prepare import Preparation
from app.api.models import warn_of_dangling
from app.backend.admission import Admission, SlotRequest
from app.backend.protocols import BackendHooks, Pace
from app.budget import Shares
from app.cli import group
from app.codex.home import Home
from app.http import (
    auth,
    cors,
    error_handlers,
    key_limits,
    maintenance,
    request_context,
    request_lifetime,
    request_target,
    services,
)
from app.http.auth import Access
from app.http.background_answers import BackgroundAnswers
from app.http.body_budget import BLOCK_BYTES, BodyBudget
from app.http.flask_app import GatewayFlask
from app.http.open_streams import OpenStreams
from app.http.open_websockets import OpenWebSockets
from app.http.services import Options, Services
from app.images.cache import ImageCache
from app.images.download import Limits
from app.images.fetcher import IMAGE_REQUESTS, ImageFetcher, Places
from app.images.name_lookups import LOOKUPS, TakePlace
from app.observability.gauges import Gauges
from app.observability.loop_watch import LoopWatch
from app.observability.metrics import Metrics
from app.observability.recent import Recent
from app.observability.span_recorder import SpanRecorder
from app.observability.trace_buffer import TraceBuffer
from app.observability.trace_files import folder_of
from app.observability.usage_recorder import UsageRecorder
from app.off_loop import OffLoop
from app.runtime.build import BackendChoice, build_worker_services
from app.runtime.worker_services import WorkerServices
from app.settings import (
    BODIES_AT_ONCE,
    Settings,
    SettingsError,
    advice,
    load_settings,
    read_environment,
    unknown_names,
)
from app.version import VERSION

log = logging.getLogger("codex_api.settings")


def create_app(
    settings: Settings | None = None, choose_backend: BackendChoice | None = None
) -> Flask:
    """Return the WSGI application. Starts no process: gunicorn's hooks run `extensions["worker_services"]`.

    `choose_backend` makes another backend than the one of the settings. Raises `SettingsError` with every problem.
    """
    settings = settings or _load_settings()
    app = GatewayFlask(__name__)
    # No redirect for a trailing or doubled slash: clients lose their Authorization header on one.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    worker_services = build_worker_services(settings, choose_backend)
    here = _services(settings, worker_services)
    app.extensions["worker_services"] = worker_services
    access = api.access_by_blueprint(protect_models=settings.protect_models)
    services.init_app(app, here)
    request_lifetime.init_app(app, here.counters)
    request_context.init_app(app, [here.metrics, here.recent, here.usage], worker_services.spans)
    request_target.init_app(app, access)
    cors.init_app(app, settings.cors_origins)  # before auth: a preflight carries no key
    auth.init_app(app, _keys(settings), access)
    maintenance.init_app(app, here.maintenance)  # after auth: only callers with a key learn of it
    _limit(app, settings, access, here)  # after auth: a caller without a key is not counted
    error_handlers.init_app(app)
    api.init_app(
        app,
        has_admin=bool(settings.operator_key),
        has_home=settings.has_home_page,
        has_console=settings.console,
    )
    app.cli.add_command(group.group)
    return app


def _load_settings() -> Settings:
    variables = read_environment()
    for name in unknown_names(variables):
        log.warning("setting_unknown", extra={"name_given": name})
    settings = load_settings(variables)
    for name, sentence in advice(settings):
        log.warning("setting_advice", extra={"setting": name, "meaning": sentence})
    return settings


def _services(settings: Settings, worker: WorkerServices) -> Services:
    """Return what requests need, with every bound that the settings give it."""
    names = Names(settings.model_aliases, settings.default_model)
    metrics = Metrics(worker.backend.kind)
    worker.backend.hooks = BackendHooks(
        on_models=lambda models: warn_of_dangling(models, names),
        on_restart=metrics.restarts.inc,
        on_replaced=lambda reason: metrics.replacements.labels(reason).inc(),
    )
    worker.traces = _traces(settings, metrics)
    worker.spans = _spans(settings, metrics) if settings.otel else None
    worker.loop_watch = LoopWatch(metrics)
    worker.answer_store = _answer_store(settings, metrics)
    worker.usage = UsageRecorder(
        worker.answer_store, settings.usage_days, metrics.overflows.labels("usage").inc
    )
    worker.background = _background(settings, metrics)
    # One body of the longest kind always fits, with the block that finds its end.
    bodies = max(settings.body_memory_bytes, settings.max_body_bytes) + BLOCK_BYTES
    several = settings.has_several_keys
    websockets = OpenWebSockets(
        settings.websocket_max_concurrency,
        settings.websocket_answer_bytes,
        settings.websocket_idle_ms / 1000,
        settings.websocket_max_age_ms / 1000,
        is_split=several,
    )
    return Services(
        options=_options(settings),
        engine=worker.engine,
        pace=Pace(
            first_s=settings.request_timeout_ms / 1000,
            total_s=settings.timeout_ms / 1000,
            commit_s=settings.stream_commit_ms / 1000,
            tick_s=settings.sse_keepalive_ms / 1000,
        ),
        model_names=names,
        preparation=Preparation(
            _images(settings, metrics),
            AnswerCache(on_evicted=metrics.evictions.labels("answers").inc),
        ),
        answer_store=worker.answer_store,
        bodies=BodyBudget(
            bodies, BODIES_AT_ONCE, is_split=several, longest=settings.max_body_bytes + BLOCK_BYTES
        ),
        open_streams=OpenStreams(settings.sse_max_concurrency, is_split=several),
        websockets=websockets,
        background=worker.background,
        maintenance=worker.maintenance,
        metrics=metrics,
        gauges=_gauges(
            worker, metrics, worker.traces, worker.answer_store, worker.background, websockets
        ),
        recent=Recent(),
        traces=worker.traces,
        usage=worker.usage,
        counters=worker.engine.admission.counters,  # the same for the whole worker
        reload_report=worker.reload_report,
        worker_report=worker.worker_report,
        off_loop=OffLoop(),
    )


def _traces(settings: Settings, metrics: Metrics) -> TraceBuffer:
    return TraceBuffer(
        folder_of(settings.codex_home),
        metrics.overflows.labels("trace").inc,
        is_on=settings.trace_buffer,
        has_content=settings.trace_content,
    )


def _spans(settings: Settings, metrics: Metrics) -> SpanRecorder:
    try:
        from app.observability.otlp import OtlpExporter  # noqa: PLC0415  (loaded only where it is used)
    except ImportError:
        raise SettingsError(
            [
                "PROXY_OTEL needs OpenTelemetry's packages: .venv/bin/pip install -r requirements-otel.txt."
            ]
        ) from None
    exporter = OtlpExporter(
        settings.otel_endpoint,
        settings.otel_headers,
        settings.otel_timeout_ms / 1000,
        {
            "service.name": settings.otel_service_name,
            "service.version": VERSION,
            "deployment.environment.name": settings.env,
        },
    )
    results = {True: metrics.spans.labels("exported"), False: metrics.spans.labels("failed")}
    return SpanRecorder(
        exporter,
        metrics.overflows.labels("otel").inc,
        lambda is_sent, count: results[is_sent].inc(count),
        is_split=settings.has_several_keys,
    )


def _answer_store(settings: Settings, metrics: Metrics) -> AnswerStore:
    hooks = Hooks(
        on_call=lambda call, result: metrics.store_calls.labels(call, result).inc(),
        on_gone=lambda reason, count: metrics.store_evictions.labels(reason).inc(count),
    )
    return choose_store(
        settings.response_store,
        Home(settings.codex_home).private,
        settings.response_store_bytes,
        settings.response_ttl_s,
        hooks,
    )


def _background(settings: Settings, metrics: Metrics) -> BackgroundAnswers:
    return BackgroundAnswers(
        settings.background_max_concurrency,
        settings.background_event_bytes,
        is_split=settings.has_several_keys,
        on_full=metrics.overflows.labels("background_events").inc,
    )


def _gauges(
    worker: WorkerServices,
    metrics: Metrics,
    traces: TraceBuffer,
    store: AnswerStore,
    background: BackgroundAnswers,
    websockets: OpenWebSockets,
) -> Gauges:
    return Gauges(
        metrics,
        worker.engine.health,
        lambda: traces.entries,
        lambda: worker.maintenance.state().is_on,
        worker.backend.account,
        lambda: store.totals,
        lambda: (background.places.shares.used, background.event_bytes.shares.used),
        lambda: (websockets.places.shares.used, websockets.answers.shares.used),
    )


def _options(settings: Settings) -> Options:
    return Options(
        max_choices=min(settings.max_choices, settings.max_concurrency),
        shows_reasoning=settings.reasoning == "reasoning_content",
        commentary_is_reasoning=settings.commentary == "reasoning_content",
        max_body_bytes=settings.max_body_bytes,
        body_timeout_s=settings.body_timeout_ms / 1000,
        log_level=settings.log_level,
        system_fingerprint=f"fp_codex_{VERSION.replace('.', '_')}",
        versions={"gateway": VERSION},
        tells_defects=settings.env == "dev",
    )


def _images(settings: Settings, metrics: Metrics) -> ImageFetcher:
    most = settings.max_body_bytes * 3 // 4  # as data URLs they are as long as the longest body
    return ImageFetcher(
        enabled=settings.fetch_images,
        limits=Limits(image_bytes=min(20 << 20, most), request_bytes=most),
        places=Places(_places(IMAGE_REQUESTS, settings), _places(LOOKUPS, settings)),
        cache=ImageCache(
            settings.image_cache_bytes, on_evicted=metrics.evictions.labels("images").inc
        ),
    )


def _places(limit: int, settings: Settings) -> TakePlace:
    """Return what gives out so many places to keys, fairly."""
    admission = Admission(limit, settings.queue_max, is_split=settings.has_several_keys)

    def take(owner: str, within_s: float) -> Callable[[], None]:
        (slot,) = admission.acquire(within_s, 1, SlotRequest(owner))
        return slot.release

    return take


def _keys(settings: Settings) -> dict[Access, Mapping[str, str]]:
    """Return the keys of each kind of access, by name."""
    return {
        Access.KEY: settings.client_keys,
        Access.METRICS: {"metrics": settings.metrics_token or settings.api_key},
        Access.ADMIN: {"admin": settings.operator_key} if settings.operator_key else {},
    }


def _limit(app: Flask, settings: Settings, access: Mapping[str, Access], here: Services) -> None:
    """Hold each key to its limits."""
    windows = {**dict.fromkeys(settings.client_keys, settings.rate_limit), **settings.rate_limits}
    store = None
    if any(windows.values()):
        # The library behind it takes its share of a start: only where it is used.
        from app.http.limit_store import LimitStore  # noqa: PLC0415

        store = LimitStore(settings.rate_limit_storage, windows, here.metrics.uncounted.inc)
    requests = Shares(settings.requests_at_once, is_split=settings.has_several_keys)
    app.extensions["requests_at_once"] = (
        requests  # a worker that may open few files bounds it further
    )
    of_keys = key_limits.KeyLimits(store, settings.key_max_concurrency, requests)
    here.metrics.know_keys(settings.client_keys)
    key_limits.init_app(
        app, of_keys, access, here.engine.backend.account, starts_nothing=api.STARTS_NOTHING
    )
