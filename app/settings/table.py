"""Table of all settings: variable, default, parser and one sentence each. Read once into a frozen `Settings`.

The environment wins over `.env`, which is read afresh each time (so that a value changes at HUP) and never copied into
`os.environ` (so that it does not stick, and does not reach the child). All problems are reported together, by name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from app.settings import profiles, values
from app.settings.values import ROOT, Window

BODIES_AT_ONCE = 512
"""Request bodies that may be arriving at the same time."""

IDLE_CONNECTIONS = 1024
"""Client connections beside those that any limit lets be busy."""

OTHER_DESCRIPTORS = 256
"""Open files beside client connections: the child's pipes, databases, libraries, images that are downloaded."""

PROCESS_DESCRIPTORS = 4
"""Open files for a codex process: the socket, its errors, and two more while it is started."""


class SettingsError(Exception):
    """One or more settings are wrong. `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Settings refused: " + " ".join(problems))
        self.problems = problems


def _var(
    name: str, default: str, parse: Callable[[str], Any], meaning: str, *, secret: bool = False
) -> Any:
    """Declare one setting; `default` is text, so that the documentation can show it."""
    return field(
        repr=not secret,
        metadata={"name": name, "default": default, "parse": parse, "meaning": meaning},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration of one worker generation. Units are in the names: ms, s, bytes."""

    # fmt: off
    env: str = _var("PROXY_ENV", "dev", values.one_of("dev", "staging", "prod"), "Profile: dev, staging or prod; prod refuses unsafe settings.")
    host: str = _var("PROXY_HOST", "127.0.0.1", values.host, "Address to listen on.")
    port: int = _var("PORT", "11435", values.whole(0, 65535), "Port to listen on; 0 takes a free one.")
    api_key: str = _var("PROXY_API_KEY", "", values.secret, "The key that clients send as bearer; required.", secret=True)
    api_keys: Mapping[str, str] = _var("PROXY_API_KEYS", "", values.secrets, "More client keys: name=key,name=key.", secret=True)
    admin_key: str = _var("PROXY_ADMIN_KEY", "", values.secret, "The key for /internal; if empty, PROXY_API_KEY, but in prod /internal is then closed.", secret=True)
    metrics_token: str = _var("PROXY_METRICS_TOKEN", "", values.secret, "The bearer token for /metrics; PROXY_API_KEY if empty.", secret=True)
    rate_limit: tuple[Window, ...] = _var("PROXY_RATE_LIMIT", "off", values.rate_limit, "Requests that each client key may make, like 60/minute;1000/hour; off for no limit.")
    rate_limits: Mapping[str, tuple[Window, ...]] = _var("PROXY_RATE_LIMITS", "", values.rate_limits, "Other limits for single keys: name=10/minute;100/hour,name=off.")
    rate_limit_storage: str = _var("PROXY_RATE_LIMIT_STORAGE", "memory://", values.rate_limit_storage, "Where requests are counted: memory:// in the worker, until a reload, or redis://:password@host:6379/0 for replicas and reloads together.", secret=True)
    key_max_concurrency: int = _var("PROXY_KEY_MAX_CONCURRENCY", "0", values.whole(0, 100_000), "Requests of one client key that may be in progress at once; 0 for no limit.")
    use_app_server: bool = _var("PROXY_USE_APP_SERVER", "true", values.flag, "Answer through one shared codex app-server; false starts a codex process for each turn.")
    maintenance_mode: bool = _var("PROXY_MAINTENANCE_MODE", "false", values.flag, "Answer /v1 with 503 MAINTENANCE; what was set at /internal/maintenance wins until this value changes.")
    home_page: str = _var("PROXY_HOME_PAGE", "auto", values.one_of("auto", "true", "false"), "Whether a browser is shown a page at /; auto: not where PROXY_ENV is prod.")
    console: bool = _var("PROXY_CONSOLE", "true", values.flag, "Whether a browser is shown the operator's console at /internal/console, where a key opens /internal.")
    protect_models: bool = _var("PROXY_PROTECT_MODELS", "true", values.flag, "Ask for a key on the model list, too.")
    default_model: str = _var("PROXY_DEFAULT_MODEL", "", values.text, "The model of a request that names none; without it such a request is refused.")
    model_aliases: Mapping[str, str] = _var("PROXY_MODEL_ALIASES", "", values.named("model"), "More names for models: name=model,name=model-effort.")
    cors_origins: tuple[str, ...] = _var("PROXY_CORS_ALLOWED_ORIGINS", "*", values.origins, "Web origins whose pages may call from a browser, separated by commas; * for all, off for none.")
    trusted_proxies: str = _var("PROXY_TRUSTED_PROXIES", "127.0.0.1", values.peers, "Addresses whose X-Forwarded-Proto is believed, separated by commas.")
    stream_commit_ms: int = _var("PROXY_STREAM_COMMIT_MS", "300", values.milliseconds, "How long a stream waits for its first event before the 200 is sent; a failure in that time is an ordinary HTTP error.")
    sse_keepalive_ms: int = _var("PROXY_SSE_KEEPALIVE_MS", "15000", values.milliseconds, "Silence after which a stream sends a frame that adds nothing, so that proxies and clients keep it open.")
    sse_max_concurrency: int = _var("PROXY_SSE_MAX_CONCURRENCY", "256", values.whole(1, 100_000), "Streams that are open at once; one more is answered 429.")
    timeout_ms: int = _var("PROXY_TIMEOUT_MS", "1800000", values.milliseconds, "Longest time for a whole request.")
    keepalive_s: int = _var("PROXY_KEEPALIVE_S", "95", values.whole(1, 3600), "How long an idle client connection stays open.")
    head_timeout_ms: int = _var("PROXY_HEAD_TIMEOUT_MS", "10000", values.milliseconds, "Longest time for a request's head to arrive, and longest pause in its body.")
    body_timeout_ms: int = _var("PROXY_BODY_TIMEOUT_MS", "60000", values.milliseconds, "Longest time for a request's body to arrive.")
    send_timeout_ms: int = _var("PROXY_SEND_TIMEOUT_MS", "30000", values.milliseconds, "Longest time for a client to take 64 KiB of its answer, or what is left of it.")
    fetch_images: bool = _var("PROXY_FETCH_IMAGES", "true", values.flag, "Download images that a request names by http(s) address; false refuses them.")
    image_cache_bytes: int = _var("PROXY_IMAGE_CACHE_BYTES", "67108864", values.whole(0, 1 << 32), "Memory for downloaded images, so that the next turn needs no download; 0 keeps none.")
    response_store: str = _var("PROXY_RESPONSE_STORE", "sqlite", values.response_store, "Where answers are stored for those who ask for them again: sqlite, a file below CODEX_HOME; redis://:password@host:6379/0, for replicas together; off, nowhere.", secret=True)
    response_ttl_s: int = _var("PROXY_RESPONSE_TTL_S", "2592000", values.whole(60, 315_360_000), "How long an answer is stored after its last use.")
    response_store_bytes: int = _var("PROXY_RESPONSE_STORE_BYTES", "1073741824", values.whole(1 << 20, 1 << 40), "What stored answers may take on disk; of the key that has most, those used longest ago make room.")
    usage_days: int = _var("PROXY_USAGE_DAYS", "90", values.whole(1, 3660), "How many days of usage are kept, by key and model.")
    background_max_concurrency: int = _var("PROXY_BACKGROUND_MAX_CONCURRENCY", "128", values.whole(1, 100_000), "Background responses that run or wait for a turn at once; one more is answered 429.")
    background_event_bytes: int = _var("PROXY_BACKGROUND_EVENT_BYTES", "67108864", values.whole(1 << 16, 1 << 40), "Memory for events of background responses, so that they can be followed while they run; what finds no room is streamed when it has ended.")
    websocket_max_concurrency: int = _var("PROXY_WEBSOCKET_MAX_CONCURRENCY", "256", values.whole(0, 100_000), "WebSockets of clients that are open at once; one more is answered 429. 0 for none at all.")
    websocket_idle_ms: int = _var("PROXY_WEBSOCKET_IDLE_MS", "600000", values.milliseconds, "How long a WebSocket on which nothing is asked stays open.")
    websocket_max_age_ms: int = _var("PROXY_WEBSOCKET_MAX_AGE_MS", "3600000", values.milliseconds, "How long a WebSocket stays open at most; an answer that is on its way is not cut.")
    websocket_answer_bytes: int = _var("PROXY_WEBSOCKET_ANSWER_BYTES", "67108864", values.whole(1 << 16, 1 << 40), "Memory for the answers that are not stored, so that a WebSocket can go on with its own; the oldest make room.")
    max_choices: int = _var("PROXY_MAX_CHOICES", "8", values.whole(1, 128), "Most choices (n) that one request may ask for; each is a turn, so never more than WORKER_MAX_CONCURRENCY.")
    reasoning: str = _var("PROXY_REASONING", "reasoning_content", values.one_of("reasoning_content", "off"), "Where the model's reasoning is shown: in reasoning_content beside the content, or not at all (off).")
    commentary: str = _var("PROXY_COMMENTARY", "content", values.one_of("content", "reasoning_content"), "Where it is shown what the model says on its way to an answer: as paragraphs of the content, or as reasoning (reasoning_content).")
    max_body_bytes: int = _var("PROXY_MAX_BODY_BYTES", "33554432", values.whole(1024, 1 << 30), "Longest request body.")
    body_memory_bytes: int = _var("PROXY_BODY_MEMORY_BYTES", "268435456", values.whole(1 << 20, 1 << 40), "Bodies of all requests that are read or answered at the same time; one more is answered 429.")
    max_concurrency: int = _var("WORKER_MAX_CONCURRENCY", "64", values.whole(1, 1024), "Turns that run at once.")
    queue_max: int = _var("WORKER_QUEUE_MAX", "256", values.whole(0, 100_000), "Requests that may wait for a turn; one more is answered 429.")
    queue_timeout_ms: int = _var("WORKER_QUEUE_TIMEOUT_MS", "10000", values.milliseconds, "Longest wait for a turn slot, or for a child that restarts.")
    request_timeout_ms: int = _var("WORKER_REQUEST_TIMEOUT_MS", "300000", values.milliseconds, "Longest silence of the upstream, before the first event and between events.")
    rpc_timeout_ms: int = _var("WORKER_RPC_TIMEOUT_MS", "10000", values.milliseconds, "Longest wait for the child to acknowledge one call.")
    startup_timeout_ms: int = _var("WORKER_STARTUP_TIMEOUT_MS", "8000", values.milliseconds, "Longest wait for the child's handshake.")
    backoff_initial_ms: int = _var("WORKER_BACKOFF_INITIAL_MS", "250", values.milliseconds, "Wait before the first restart of the child; doubles with each failure in a row.")
    backoff_max_ms: int = _var("WORKER_BACKOFF_MAX_MS", "5000", values.milliseconds, "Longest wait between restarts of the child.")
    probe_interval_ms: int = _var("WORKER_PROBE_INTERVAL_MS", "5000", values.milliseconds, "How often the child is asked for a sign of life.")
    probe_timeout_ms: int = _var("WORKER_PROBE_TIMEOUT_MS", "3000", values.milliseconds, "Longest wait for that sign; a child that stays silent is replaced.")
    memory_limit_bytes: int = _var("WORKER_MEMORY_LIMIT_BYTES", "2147483648", values.whole(1 << 26, 1 << 40), "Resident memory of the child above which a new one takes its place; its running turns finish.")
    kept_threads: int = _var("WORKER_KEPT_THREADS", "64", values.whole(0, 10_000), "Conversations that the child keeps for their next round, so that the upstream finds them in its cache; 0 keeps none.")
    kept_thread_ttl_s: int = _var("WORKER_KEPT_THREAD_TTL_S", "1800", values.whole(1, 86_400), "How long a conversation is kept after its last answer.")
    warm_threads: int = _var("WORKER_WARM_THREADS", "8", values.whole(0, 64), "Threads at most that the child starts ahead of requests; how many wait follows the traffic, and 0 starts none.")
    per_request_spare: int = _var("WORKER_PER_REQUEST_SPARE", "0", values.whole(0, 64), "Processes that are started ahead of demand where PROXY_USE_APP_SERVER is false.")
    per_request_dialect: str = _var("WORKER_PER_REQUEST_DIALECT", "app-server", values.one_of("app-server", "proto"), "How a process of a turn's own is spoken to; proto, for a codex up to 0.42 in CODEX_BIN, offers the model a shell and is refused where PROXY_ENV is prod.")
    shutdown_grace_ms: int = _var("WORKER_SHUTDOWN_GRACE_MS", "10000", values.milliseconds, "How long open requests may finish after TERM.")
    reload_grace_ms: int | None = _var("WORKER_RELOAD_GRACE_MS", "", values.optional_milliseconds, "How long open requests may finish on a worker that a reload has replaced; PROXY_TIMEOUT_MS if empty.")
    codex_home: Path = _var("CODEX_HOME", "./.codex-api", values.path, "Where everything that the service writes lives.")
    codex_bin: Path | None = _var("CODEX_BIN", "", values.optional_path, "Another codex binary than the one that requirements.txt brings.")
    upstream_url: str = _var("CODEX_UPSTREAM_URL", "", values.upstream_url, "A Responses API to use instead of OpenAI's, like http://host/v1.")
    upstream_api_key: str = _var("CODEX_UPSTREAM_API_KEY", "", values.secret, "The key for CODEX_UPSTREAM_URL.", secret=True)
    upstream_websockets: bool | None = _var("CODEX_UPSTREAM_WEBSOCKETS", "auto", values.flag_or_auto, "Whether the upstream is spoken to over WebSockets, too: true, false, or auto for what is found out.")
    upstream_models: tuple[str, ...] = _var("CODEX_UPSTREAM_MODELS", "", values.model_words, "The models of that upstream: names, auto for what its /models lists, codex for codex's own; codex's own if empty.")
    ca_certificate: Path | None = _var("CODEX_CA_CERTIFICATE", "", values.certificates, "Certificates (PEM) that codex trusts beside the system's, for an upstream or a proxy with a private CA.")
    few_roots: bool = _var("CODEX_FEW_ROOTS", "true", values.flag, "Trust only the few certificates that OpenAI's hosts need, once a handshake with each has proven them; false for the system's whole store.")
    trace_buffer: bool = _var("PROXY_TRACE_BUFFER", "true", values.flag, "Keep a trace of each of the last turns below CODEX_HOME, without content.")
    trace_content: bool = _var("PROXY_TRACE_CONTENT", "false", values.flag, "Write prompts, answers and tool arguments into the traces, too; refused where PROXY_ENV is prod.")
    otel: bool = _var("PROXY_OTEL", "false", values.flag, "Send spans of requests and turns to an OpenTelemetry collector; needs the packages of requirements-otel.txt.")
    otel_endpoint: str = _var("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318", values.collector_url, "The collector that spans are sent to, over OTLP/HTTP, at /v1/traces below this address.")
    otel_headers: Mapping[str, str] = _var("OTEL_EXPORTER_OTLP_HEADERS", "", values.headers, "Headers of what is sent there, such as its key: name=value,name=value.", secret=True)
    otel_timeout_ms: int = _var("PROXY_OTEL_TIMEOUT_MS", "10000", values.milliseconds, "Longest time for a batch of spans to be taken, with all tries.")
    otel_service_name: str = _var("OTEL_SERVICE_NAME", "codex-api", values.text, "What the service is called in spans.")
    log_level: str = _var("LOG_LEVEL", "info", values.one_of("debug", "info", "warning", "error"), "Least severe level that is logged.")
    log_format: str = _var("LOG_FORMAT", "auto", values.one_of("auto", "json", "text"), "What the lines of the log look like; auto is text at a terminal, and JSON elsewhere.")
    # fmt: on

    @property
    def has_home_page(self) -> bool:
        """Whether `/` is a page."""
        return self.home_page == "true" or (self.home_page == "auto" and self.env != "prod")

    @property
    def app_server_bin(self) -> Path | None:
        """The binary that is spoken to as app-server, where it is another one: with `proto`, CODEX_BIN is for turns alone."""
        return None if self.per_request_dialect == "proto" else self.codex_bin

    @property
    def client_keys(self) -> Mapping[str, str]:
        """Every key that opens `/v1`, by its name; `PROXY_API_KEY` is called `default`."""
        return {"default": self.api_key, **self.api_keys}

    @property
    def has_several_keys(self) -> bool:
        """Whether what is scarce has to be left to others, too."""
        return bool(self.api_keys)

    @property
    def operator_key(self) -> str:
        """The key that opens `/internal`; empty where nothing does."""
        return self.admin_key or ("" if self.env == "prod" else self.api_key)

    @property
    def address(self) -> str:
        """Host and port as they stand in a URL: an IPv6 address is in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """Client connections that a worker holds at once: more than any other limit lets be busy.

        So there is always one for a health check: those that only wait are closed where room runs out.
        """
        return self.requests_at_once + IDLE_CONNECTIONS

    @property
    def other_descriptors(self) -> int:
        """Open files beside client connections: more where each turn has a process."""
        if self.use_app_server:
            return OTHER_DESCRIPTORS
        return OTHER_DESCRIPTORS + PROCESS_DESCRIPTORS * (
            self.max_concurrency + self.per_request_spare
        )

    @property
    def requests_at_once(self) -> int:
        """Requests of all keys that are in progress at once: as many as all limits together let be."""
        return self.sse_max_concurrency + self.queue_max + self.max_concurrency + BODIES_AT_ONCE

    @property
    def reload_patience_ms(self) -> int:
        """How long a replaced worker may go on: at most as long as the longest request."""
        return self.timeout_ms if self.reload_grace_ms is None else self.reload_grace_ms


VARIABLES: tuple[Field[Any], ...] = fields(Settings)


def read_environment(env_file: Path = ROOT / ".env") -> dict[str, str]:
    """Return `.env` overlaid with the environment, also where the environment's value is empty.

    Raises `SettingsError` where there is such a file and it cannot be read.
    """
    try:
        from_file = {name: value or "" for name, value in dotenv_values(env_file).items()}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise SettingsError([f"{env_file.name} cannot be read: {reason}."]) from None
    return from_file | dict(os.environ)


def load_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Parse and check every setting; an empty value means the default.

    Raises `SettingsError` with all problems at once; values are never quoted, since one of them may be a key.
    """
    source = read_environment() if variables is None else variables
    parsed: dict[str, Any] = {}
    problems: list[str] = []
    for variable in VARIABLES:
        name = variable.metadata["name"]
        text = source.get(name, "").strip() or variable.metadata["default"]
        try:
            parsed[variable.name] = variable.metadata["parse"](text)
        except ValueError as error:
            problems.append(f"{name} must be {error}.")
    problems += _conflicts(parsed)
    if problems:
        raise SettingsError(problems)
    return Settings(**parsed)


def _conflicts(parsed: Mapping[str, Any]) -> list[str]:
    """Check what no single parser can see. A value that did not parse is simply not there."""
    problems = []
    if parsed.get("api_key") == "":
        problems.append("PROXY_API_KEY is required: the key that clients send as bearer.")
    if parsed.get("backoff_initial_ms", 0) > parsed.get("backoff_max_ms", math.inf):
        problems.append("WORKER_BACKOFF_INITIAL_MS must not exceed WORKER_BACKOFF_MAX_MS.")
    named = parsed.get("api_keys", {})
    if "default" in named:
        problems.append("PROXY_API_KEYS: the name default belongs to PROXY_API_KEY.")
    if parsed.get("admin_key") and parsed["admin_key"] in named.values():
        problems.append("PROXY_ADMIN_KEY must differ from every key in PROXY_API_KEYS.")
    problems += _strangers(parsed)
    problems += _without_upstream(parsed)
    if parsed.get("per_request_dialect") == "proto" and parsed.get("codex_bin", "") is None:
        problems.append("WORKER_PER_REQUEST_DIALECT=proto needs CODEX_BIN: a codex up to 0.42.")
    keys = [parsed.get("api_key", ""), *named.values()]
    if len(set(keys)) != len(keys):
        problems.append("PROXY_API_KEYS: every key must differ from every other.")
    if parsed.get("env") == "prod":
        problems += [" ".join(finding) for finding in profiles.refusals(parsed)]
    return problems


def advice(settings: Settings) -> list[tuple[str, str]]:
    """Return the settings that are allowed and perhaps not meant: the variable, and a sentence about it."""
    parsed = {variable.name: getattr(settings, variable.name) for variable in VARIABLES}
    return [(name, f"{name} {rest}") for name, rest in profiles.advice(parsed)]


def _without_upstream(parsed: Mapping[str, Any]) -> list[str]:
    """Check that models are named only where an upstream is."""
    if not parsed.get("upstream_models") or parsed.get("upstream_url") != "":
        return []
    return ["CODEX_UPSTREAM_MODELS needs CODEX_UPSTREAM_URL: it names the models of that upstream."]


def _strangers(parsed: Mapping[str, Any]) -> list[str]:
    """Check that every limit belongs to a key."""
    if "api_keys" not in parsed:
        return []
    strangers = sorted(
        parsed.get("rate_limits", {}).keys() - parsed["api_keys"].keys() - {"default"}
    )
    return [f"PROXY_RATE_LIMITS: no key has the name {', '.join(strangers)}."] if strangers else []


def unknown_names(variables: Mapping[str, str]) -> list[str]:
    """Return names that look like settings of ours and are none: a typing error that would be ignored silently."""
    known = {variable.metadata["name"] for variable in VARIABLES}
    ours = ("PROXY_", "WORKER_", "CODEX_")
    return sorted(name for name in variables if name.startswith(ours) and name not in known)
