import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.settings import (
    ROOT,
    VARIABLES,
    Settings,
    SettingsError,
    Window,
    load_settings,
    read_environment,
    unknown_names,
)
from tests.e2e.tls_front import CA

KEY = "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"
OTHER_KEY = KEY[::-1]

# variable: attribute, default
DEFAULTS: dict[str, tuple[str, Any]] = {
    "PROXY_ENV": ("env", "dev"),
    "PROXY_HOST": ("host", "127.0.0.1"),
    "PORT": ("port", 11435),
    "PROXY_API_KEY": ("api_key", ""),
    "PROXY_API_KEYS": ("api_keys", {}),
    "PROXY_ADMIN_KEY": ("admin_key", ""),
    "PROXY_METRICS_TOKEN": ("metrics_token", ""),
    "PROXY_RATE_LIMIT": ("rate_limit", ()),
    "PROXY_RATE_LIMITS": ("rate_limits", {}),
    "PROXY_RATE_LIMIT_STORAGE": ("rate_limit_storage", "memory://"),
    "PROXY_KEY_MAX_CONCURRENCY": ("key_max_concurrency", 0),
    "PROXY_USE_APP_SERVER": ("use_app_server", True),
    "PROXY_MAINTENANCE_MODE": ("maintenance_mode", False),
    "PROXY_HOME_PAGE": ("home_page", "auto"),
    "PROXY_CONSOLE": ("console", True),
    "PROXY_PROTECT_MODELS": ("protect_models", True),
    "PROXY_TRUSTED_PROXIES": ("trusted_proxies", "127.0.0.1"),
    "PROXY_DEFAULT_MODEL": ("default_model", ""),
    "PROXY_MODEL_ALIASES": ("model_aliases", {}),
    "PROXY_CORS_ALLOWED_ORIGINS": ("cors_origins", ("*",)),
    "PROXY_FETCH_IMAGES": ("fetch_images", True),
    "PROXY_IMAGE_CACHE_BYTES": ("image_cache_bytes", 67108864),
    "PROXY_RESPONSE_STORE": ("response_store", "sqlite"),
    "PROXY_RESPONSE_TTL_S": ("response_ttl_s", 2_592_000),
    "PROXY_RESPONSE_STORE_BYTES": ("response_store_bytes", 1 << 30),
    "PROXY_USAGE_DAYS": ("usage_days", 90),
    "PROXY_BACKGROUND_MAX_CONCURRENCY": ("background_max_concurrency", 128),
    "PROXY_BACKGROUND_EVENT_BYTES": ("background_event_bytes", 1 << 26),
    "PROXY_WEBSOCKET_MAX_CONCURRENCY": ("websocket_max_concurrency", 256),
    "PROXY_WEBSOCKET_IDLE_MS": ("websocket_idle_ms", 600_000),
    "PROXY_WEBSOCKET_MAX_AGE_MS": ("websocket_max_age_ms", 3_600_000),
    "PROXY_WEBSOCKET_ANSWER_BYTES": ("websocket_answer_bytes", 1 << 26),
    "PROXY_MAX_CHOICES": ("max_choices", 8),
    "PROXY_REASONING": ("reasoning", "reasoning_content"),
    "PROXY_COMMENTARY": ("commentary", "content"),
    "PROXY_STREAM_COMMIT_MS": ("stream_commit_ms", 300),
    "PROXY_SSE_KEEPALIVE_MS": ("sse_keepalive_ms", 15_000),
    "PROXY_SSE_MAX_CONCURRENCY": ("sse_max_concurrency", 256),
    "PROXY_TIMEOUT_MS": ("timeout_ms", 1_800_000),
    "PROXY_KEEPALIVE_S": ("keepalive_s", 95),
    "PROXY_HEAD_TIMEOUT_MS": ("head_timeout_ms", 10_000),
    "PROXY_BODY_TIMEOUT_MS": ("body_timeout_ms", 60_000),
    "PROXY_SEND_TIMEOUT_MS": ("send_timeout_ms", 30_000),
    "PROXY_BODY_MEMORY_BYTES": ("body_memory_bytes", 268_435_456),
    "PROXY_MAX_BODY_BYTES": ("max_body_bytes", 33_554_432),
    "WORKER_MAX_CONCURRENCY": ("max_concurrency", 64),
    "WORKER_QUEUE_MAX": ("queue_max", 256),
    "WORKER_QUEUE_TIMEOUT_MS": ("queue_timeout_ms", 10_000),
    "WORKER_REQUEST_TIMEOUT_MS": ("request_timeout_ms", 300_000),
    "WORKER_RPC_TIMEOUT_MS": ("rpc_timeout_ms", 10_000),
    "WORKER_STARTUP_TIMEOUT_MS": ("startup_timeout_ms", 8_000),
    "WORKER_BACKOFF_INITIAL_MS": ("backoff_initial_ms", 250),
    "WORKER_BACKOFF_MAX_MS": ("backoff_max_ms", 5_000),
    "WORKER_SHUTDOWN_GRACE_MS": ("shutdown_grace_ms", 10_000),
    "WORKER_PROBE_INTERVAL_MS": ("probe_interval_ms", 5_000),
    "WORKER_PROBE_TIMEOUT_MS": ("probe_timeout_ms", 3_000),
    "WORKER_MEMORY_LIMIT_BYTES": ("memory_limit_bytes", 2_147_483_648),
    "WORKER_KEPT_THREADS": ("kept_threads", 64),
    "WORKER_KEPT_THREAD_TTL_S": ("kept_thread_ttl_s", 1800),
    "WORKER_WARM_THREADS": ("warm_threads", 8),
    "WORKER_PER_REQUEST_SPARE": ("per_request_spare", 0),
    "WORKER_PER_REQUEST_DIALECT": ("per_request_dialect", "app-server"),
    "WORKER_RELOAD_GRACE_MS": ("reload_grace_ms", None),
    "CODEX_HOME": ("codex_home", ROOT / ".codex-api"),
    "CODEX_BIN": ("codex_bin", None),
    "CODEX_UPSTREAM_URL": ("upstream_url", ""),
    "CODEX_UPSTREAM_API_KEY": ("upstream_api_key", ""),
    "CODEX_UPSTREAM_WEBSOCKETS": ("upstream_websockets", None),
    "CODEX_UPSTREAM_MODELS": ("upstream_models", ()),
    "CODEX_CA_CERTIFICATE": ("ca_certificate", None),
    "CODEX_FEW_ROOTS": ("few_roots", True),
    "PROXY_TRACE_BUFFER": ("trace_buffer", True),
    "PROXY_TRACE_CONTENT": ("trace_content", False),
    "PROXY_OTEL": ("otel", False),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("otel_endpoint", "http://localhost:4318"),
    "OTEL_EXPORTER_OTLP_HEADERS": ("otel_headers", {}),
    "PROXY_OTEL_TIMEOUT_MS": ("otel_timeout_ms", 10_000),
    "OTEL_SERVICE_NAME": ("otel_service_name", "codex-api"),
    "LOG_LEVEL": ("log_level", "info"),
    "LOG_FORMAT": ("log_format", "auto"),
}

FREE_TEXT = {"OTEL_SERVICE_NAME", "PROXY_DEFAULT_MODEL"}

DAY_MS = [name for name in DEFAULTS if name.endswith("_MS")]

ALIASES = {"gpt-4o": "gpt-5.5", "fast": "gpt-5.5-low"}
ORIGINS = ("https://a.example", "http://[::1]:3000")

VALID: list[tuple[str, str, Any]] = [
    ("PROXY_ENV", "staging", "staging"),
    ("PROXY_ENV", "DEV", "dev"),
    *(
        ("PROXY_HOST", text, host)
        for text, host in (
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
            ("[::1]", "::1"),
            ("0:0::1", "::1"),
            ("Localhost", "localhost"),
            ("api_1.example", "api_1.example"),
        )
    ),
    ("PORT", "0", 0),
    ("PORT", "65535", 65_535),
    ("PORT", " 8080 ", 8080),
    ("PROXY_API_KEY", "  other  ", "other"),
    ("PROXY_API_KEY", "!#$%&()*+,-./:;<=>?@[]^_`{|}~", "!#$%&()*+,-./:;<=>?@[]^_`{|}~"),
    ("PROXY_API_KEY", "k" * 4096, "k" * 4096),
    ("PROXY_API_KEYS", "ann=1, bob=2=3,", {"ann": "1", "bob": "2=3"}),
    ("PROXY_API_KEYS", " ann = 1 ", {"ann": "1"}),
    ("PROXY_ADMIN_KEY", " admin ", "admin"),
    ("PROXY_METRICS_TOKEN", " token ", "token"),
    ("PROXY_HOME_PAGE", "true", "true"),
    ("PROXY_CONSOLE", "off", False),
    *(("PROXY_PROTECT_MODELS", text, True) for text in ("true", "TRUE", "1", "yes", "on")),
    *(("PROXY_PROTECT_MODELS", text, False) for text in ("false", "False", "0", "no", "off")),
    *(
        ("PROXY_RATE_LIMIT", text, windows)
        for text, windows in (
            ("off", ()),
            ("OFF", ()),
            ("60/minute", (Window(60, 60),)),
            ("60 per minute", (Window(60, 60),)),
            ("1000/hour; 60/Minutes", (Window(60, 60), Window(1000, 3600))),
            ("10 / 5 minutes", (Window(10, 300),)),
            ("10/5minutes;1/second;9/31 days", (Window(1, 1), Window(10, 300), Window(9, 2678400))),
            ("100000/day", (Window(100_000, 86_400),)),
        )
    ),
    ("PROXY_RATE_LIMITS", "default=off", {"default": ()}),
    (
        "PROXY_RATE_LIMITS",
        "default = 1/second;9/hour,",
        {"default": (Window(1, 1), Window(9, 3600))},
    ),
    *(
        ("PROXY_RATE_LIMIT_STORAGE", text, text)
        for text in (
            "memory://",
            "redis://host",
            "redis://:pass@host:6379/0",
            "rediss://me:pass@host:6380",
            "unix:///run/redis.sock",
            "unix://:pass@/run/redis.sock",
        )
    ),
    ("PROXY_KEY_MAX_CONCURRENCY", "3", 3),
    ("PROXY_USE_APP_SERVER", "on", True),
    ("PROXY_MAINTENANCE_MODE", "yes", True),
    *(
        ("PROXY_TRUSTED_PROXIES", text, text)
        for text in ("10.0.0.1,10.0.0.2", "10.0.0.0/8, ::1", "*")
    ),
    ("PROXY_DEFAULT_MODEL", " gpt ", "gpt"),
    ("PROXY_MODEL_ALIASES", "gpt-4o=gpt-5.5, fast = gpt-5.5-low,", ALIASES),
    ("PROXY_CORS_ALLOWED_ORIGINS", "off", ()),
    ("PROXY_CORS_ALLOWED_ORIGINS", "OFF", ()),
    ("PROXY_CORS_ALLOWED_ORIGINS", " * ", ("*",)),
    ("PROXY_CORS_ALLOWED_ORIGINS", "https://A.example, http://[::1]:3000,", ORIGINS),
    ("PROXY_CORS_ALLOWED_ORIGINS", "app://obsidian.md", ("app://obsidian.md",)),
    ("PROXY_FETCH_IMAGES", "off", False),
    ("PROXY_IMAGE_CACHE_BYTES", "0", 0),
    ("PROXY_RESPONSE_STORE", "OFF", "off"),
    ("PROXY_RESPONSE_STORE", "SQLite", "sqlite"),
    ("PROXY_RESPONSE_STORE", "rediss://:Secret@host:1/2", "rediss://:Secret@host:1/2"),
    ("PROXY_RESPONSE_TTL_S", "60", 60),
    ("PROXY_RESPONSE_STORE_BYTES", "1048576", 1 << 20),
    ("PROXY_USAGE_DAYS", "1", 1),
    ("PROXY_BACKGROUND_MAX_CONCURRENCY", "1", 1),
    ("PROXY_BACKGROUND_EVENT_BYTES", "65536", 1 << 16),
    ("PROXY_WEBSOCKET_MAX_CONCURRENCY", "0", 0),
    ("PROXY_WEBSOCKET_ANSWER_BYTES", "65536", 1 << 16),
    ("PROXY_MAX_CHOICES", "1", 1),
    ("PROXY_MAX_CHOICES", "128", 128),
    ("PROXY_REASONING", "OFF", "off"),
    ("PROXY_COMMENTARY", "Reasoning_Content", "reasoning_content"),
    *((name, "4999", 4999) for name in DAY_MS),
    ("PROXY_TIMEOUT_MS", "86400000", 86_400_000),
    ("PROXY_STREAM_COMMIT_MS", "1", 1),
    ("PROXY_KEEPALIVE_S", "3600", 3600),
    ("PROXY_MAX_BODY_BYTES", "1024", 1024),
    ("PROXY_BODY_MEMORY_BYTES", "1048576", 1_048_576),
    ("WORKER_MAX_CONCURRENCY", "1", 1),
    ("PROXY_SSE_MAX_CONCURRENCY", "1", 1),
    ("WORKER_KEPT_THREADS", "0", 0),
    ("WORKER_PER_REQUEST_SPARE", "64", 64),
    ("WORKER_PER_REQUEST_DIALECT", "App-Server", "app-server"),
    ("WORKER_KEPT_THREAD_TTL_S", "60", 60),
    ("WORKER_WARM_THREADS", "0", 0),
    ("WORKER_WARM_THREADS", "64", 64),
    ("WORKER_MEMORY_LIMIT_BYTES", "67108864", 67_108_864),
    ("WORKER_QUEUE_MAX", "0", 0),
    ("CODEX_HOME", "/srv/codex", Path("/srv/codex")),
    ("CODEX_HOME", "state/../home", ROOT / "home"),
    ("CODEX_HOME", "~/codex", Path.home() / "codex"),
    ("CODEX_BIN", "/opt/codex", Path("/opt/codex")),
    ("CODEX_UPSTREAM_URL", "http://host/v1", "http://host/v1"),
    ("CODEX_UPSTREAM_URL", "https://host:8443/v1//", "https://host:8443/v1"),
    ("CODEX_UPSTREAM_API_KEY", "sk-1", "sk-1"),
    ("CODEX_UPSTREAM_WEBSOCKETS", "true", True),
    ("CODEX_UPSTREAM_WEBSOCKETS", "off", False),
    ("CODEX_UPSTREAM_WEBSOCKETS", "Auto", None),
    ("CODEX_UPSTREAM_MODELS", ",", ()),
    ("CODEX_CA_CERTIFICATE", str(CA), CA),
    ("CODEX_FEW_ROOTS", "no", False),
    ("PROXY_TRACE_BUFFER", "no", False),
    ("PROXY_TRACE_CONTENT", "yes", True),
    ("PROXY_OTEL", "on", True),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://host:4318/otlp/", "https://host:4318/otlp"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "X-Key=a%20b, y = c=d,", {"x-key": "a b", "y": "c=d"}),
    ("OTEL_SERVICE_NAME", "gateway", "gateway"),
    ("LOG_LEVEL", "WARNING", "warning"),
    ("LOG_FORMAT", "json", "json"),
]

MS_SENTENCE = "a whole number from 1 to 86400000."
ADDRESS_SENTENCE = "an address like https://host/v1."
COLLECTOR_SENTENCE = "an address like http://host:4318."
HEADERS_SENTENCE = "name=value,name=value with names and values of HTTP headers."
SECRET_SENTENCE = "an address without a key in it (CODEX_UPSTREAM_API_KEY is for that)."
NAMED_SENTENCE = "name=key,name=key with every name once."
MODELS_SENTENCE = "name=model,name=model with every name once."
ORIGINS_SENTENCE = "*, off, or origins like https://host:port without a path, and commas."
FLAG_SENTENCE = "true or false."
WORDS_SENTENCE = "auto, codex, or names of models, separated by commas."
PEM_SENTENCE = "a file that can be read and holds certificates in PEM."
RATE_SENTENCE = (
    "off, or limits like 60/minute;1000/hour: 1 to 100000 requests in a second, minute, hour or day, "
    "or in several of them (10/5 minutes, at most 31 days), each length once."
)
LIMITS_SENTENCE = "name=limit,name=limit with every name once."
STORAGE_SENTENCE = (
    "memory://, or an address like redis://:password@host:6379/0, rediss://… or unix:///path."
)

HOST_SENTENCE = "an IP address (without a zone) or the name of a host."
PEERS_SENTENCE = "IP addresses or networks, separated by commas, or *."
SECRET_WORDS = "letters, digits and signs of ASCII, without spaces and quotes, at most 4096"
KEYS = ("PROXY_API_KEY", "PROXY_ADMIN_KEY", "PROXY_METRICS_TOKEN", "CODEX_UPSTREAM_API_KEY")
KEYS_SENTENCE = f"name=key,name=key, with keys of {SECRET_WORDS}: they travel in a header."
NO_HEADER = [
    "canary\N{LATIN SMALL LETTER E WITH ACUTE}",
    "can ary",
    '"canary"',
    "'canary",
    "can\x7fary",
    "can\udcffary",
    "can\nary",
    "canary" * 683,
]

INVALID: list[tuple[str, str, str]] = [
    *(
        ("PROXY_HOST", text, HOST_SENTENCE)
        for text in (
            "unix:/canary",
            "can ary",
            "canary:80",
            "http://canary",
            "[canary",
            "fe80::1%lo",
        )
    ),
    *(("PROXY_TRUSTED_PROXIES", text, PEERS_SENTENCE) for text in ("canary", "10.0.0.1/8,::1")),
    *(
        (name, text, f"{SECRET_WORDS}: it travels in a header.")
        for name in KEYS
        for text in NO_HEADER
    ),
    *(("PROXY_API_KEYS", f"ann={text}", KEYS_SENTENCE) for text in NO_HEADER),
    *(
        ("PROXY_API_KEYS", text, "name=key, with names of at most 200 printable characters.")
        for text in ("can\tary=1", "c" * 201 + "=1")
    ),
    *((name, "can\0ary", "a path.") for name in ("CODEX_HOME", "CODEX_BIN")),
    ("PROXY_ENV", "production", "one of dev, staging, prod."),
    *(
        ("PORT", text, "a whole number from 0 to 65535.")
        for text in ("65536", "-7", "80.9", "http", "٣", "1_0", "+8")
    ),
    *(
        ("PROXY_API_KEYS", text, NAMED_SENTENCE)
        for text in ("canary", "=canary", "canary=", "canary= ,bob=2", "ann=canary,ann=2")
    ),
    *(
        ("PROXY_MODEL_ALIASES", text, MODELS_SENTENCE)
        for text in ("canary", "=canary", "canary=", "a=canary,a=b")
    ),
    *(
        ("PROXY_CORS_ALLOWED_ORIGINS", text, ORIGINS_SENTENCE)
        for text in (
            "canary",
            "https://canary/",
            "https://canary/path",
            "https://canary:port",
            "https://me:canary@example.com",
            "*,https://canary",
            "https://*.canary",
            "null",
        )
    ),
    ("PROXY_FETCH_IMAGES", "perhaps", FLAG_SENTENCE),
    *(
        ("PROXY_MAX_CHOICES", text, "a whole number from 1 to 128.")
        for text in ("0", "129", "-3", "many")
    ),
    ("PROXY_REASONING", "inline", "one of reasoning_content, off."),
    ("PROXY_COMMENTARY", "off", "one of content, reasoning_content."),
    *(
        ("PROXY_RATE_LIMIT", text, RATE_SENTENCE)
        for text in (
            "canary",
            "61",
            "0/day",
            "100001/day",
            "-1/minute",
            "1.5/minute",
            "60/month",
            "60/0 minutes",
            "60/32 days",
            "60/minute,9/hour",
            "61/minute;",
            "60/minute;9/60 seconds",
        )
    ),
    ("PROXY_RATE_LIMITS", "default", LIMITS_SENTENCE),
    ("PROXY_RATE_LIMITS", "default=1/day,default=2/day", LIMITS_SENTENCE),
    ("PROXY_RATE_LIMITS", "default=canary", RATE_SENTENCE),
    *(
        (name, text, sentence)
        for name, sentence in (
            ("PROXY_RATE_LIMIT_STORAGE", STORAGE_SENTENCE),
            ("PROXY_RESPONSE_STORE", "sqlite, off" + STORAGE_SENTENCE.removeprefix("memory://")),
        )
        for text in (
            "canary",
            "redis://:canary@",
            "http://canary",
            "redis://canary:port",
            "redis://:canary@host:6379/0?db=1",
            "redis://:canary@[host",
            "unix://canary",
            "memory://canary",
        )
    ),
    (
        "PROXY_RESPONSE_STORE",
        "memory://",
        "sqlite, off" + STORAGE_SENTENCE.removeprefix("memory://"),
    ),
    ("PROXY_RESPONSE_TTL_S", "59", "a whole number from 60 to 315360000."),
    ("PROXY_RESPONSE_STORE_BYTES", "1048575", "a whole number from 1048576 to 1099511627776."),
    ("PROXY_USAGE_DAYS", "3661", "a whole number from 1 to 3660."),
    ("PROXY_BACKGROUND_MAX_CONCURRENCY", "-1", "a whole number from 1 to 100000."),
    ("PROXY_BACKGROUND_EVENT_BYTES", "65535", "a whole number from 65536 to 1099511627776."),
    ("PROXY_WEBSOCKET_MAX_CONCURRENCY", "-1", "a whole number from 0 to 100000."),
    ("PROXY_WEBSOCKET_ANSWER_BYTES", "65535", "a whole number from 65536 to 1099511627776."),
    ("PROXY_KEY_MAX_CONCURRENCY", "-1", "a whole number from 0 to 100000."),
    ("PROXY_USE_APP_SERVER", "maybe", FLAG_SENTENCE),
    ("PROXY_PROTECT_MODELS", "2", FLAG_SENTENCE),
    ("PROXY_HOME_PAGE", "yes", "one of auto, true, false."),
    ("PROXY_CONSOLE", "auto", FLAG_SENTENCE),
    ("PROXY_MAINTENANCE_MODE", "soon", FLAG_SENTENCE),
    *((name, text, MS_SENTENCE) for name in DAY_MS for text in ("86400001", "soon", "-5")),
    ("PROXY_KEEPALIVE_S", "3601", "a whole number from 1 to 3600."),
    ("PROXY_MAX_BODY_BYTES", "1023", "a whole number from 1024 to 1073741824."),
    ("PROXY_MAX_BODY_BYTES", "1073741825", "a whole number from 1024 to 1073741824."),
    ("PROXY_BODY_MEMORY_BYTES", "1048575", "a whole number from 1048576 to 1099511627776."),
    ("PROXY_SSE_MAX_CONCURRENCY", "100001", "a whole number from 1 to 100000."),
    ("WORKER_PER_REQUEST_SPARE", "65", "a whole number from 0 to 64."),
    ("WORKER_PER_REQUEST_DIALECT", "exec", "one of app-server, proto."),
    ("WORKER_KEPT_THREADS", "-1", "a whole number from 0 to 10000."),
    ("WORKER_KEPT_THREAD_TTL_S", "90000", "a whole number from 1 to 86400."),
    ("WORKER_WARM_THREADS", "65", "a whole number from 0 to 64."),
    ("WORKER_MEMORY_LIMIT_BYTES", "1024", "a whole number from 67108864 to 1099511627776."),
    ("WORKER_MAX_CONCURRENCY", "1025", "a whole number from 1 to 1024."),
    ("PROXY_IMAGE_CACHE_BYTES", "-1", "a whole number from 0 to 4294967296."),
    ("WORKER_QUEUE_MAX", "100001", "a whole number from 0 to 100000."),
    *(
        ("CODEX_UPSTREAM_URL", text, ADDRESS_SENTENCE)
        for text in ("canary", "ftp://canary/v1", "http://", "http://canary/?q", "http://canary/#f")
    ),
    *(
        ("CODEX_UPSTREAM_URL", text, SECRET_SENTENCE)
        for text in ("http://canary@host/v1", "https://me:canary@host/v1")
    ),
    ("CODEX_UPSTREAM_WEBSOCKETS", "ja", "auto, true or false."),
    ("CODEX_UPSTREAM_MODELS", "x" * 201, WORDS_SENTENCE),
    ("CODEX_UPSTREAM_MODELS", "a\nb", WORDS_SENTENCE),
    *(("CODEX_CA_CERTIFICATE", text, PEM_SENTENCE) for text in ("/nowhere/ca.pem", "/", __file__)),
    ("CODEX_FEW_ROOTS", "two", FLAG_SENTENCE),
    *((name, "perhaps", FLAG_SENTENCE) for name in ("PROXY_TRACE_BUFFER", "PROXY_TRACE_CONTENT")),
    ("PROXY_OTEL", "perhaps", FLAG_SENTENCE),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "canary:4318", COLLECTOR_SENTENCE),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://me:canary@host",
        "an address without a key in it (OTEL_EXPORTER_OTLP_HEADERS are for that).",
    ),
    *(
        ("OTEL_EXPORTER_OTLP_HEADERS", text, HEADERS_SENTENCE)
        for text in ("canary", "=canary", "a=", "a b=canary", "a=canary%0d%0ab: c", "a=%C3%A9")
    ),
    ("LOG_LEVEL", "trace", "one of debug, info, warning, error."),
    ("LOG_FORMAT", "xml", "one of auto, json, text."),
]


def problems_of(variables: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(variables)
    return raised.value.problems


def test_the_table_has_every_variable() -> None:
    declared = {field.metadata["name"]: field.name for field in VARIABLES}
    assert declared == {name: attribute for name, (attribute, _) in DEFAULTS.items()}


def test_every_variable_that_can_be_wrong_has_a_row_that_is() -> None:
    assert {name for name, _, _ in INVALID} == set(DEFAULTS) - FREE_TEXT
    assert {name for name, _, _ in VALID} == set(DEFAULTS)


@pytest.mark.parametrize("given", [{}, {"PROXY_API_KEY": ""}, {"PROXY_API_KEY": "  "}])
def test_the_one_variable_without_a_default_is_required(given: dict[str, str]) -> None:
    assert problems_of(given) == ["PROXY_API_KEY is required: the key that clients send as bearer."]


@pytest.mark.parametrize("text", [None, "", "  "], ids=["absent", "empty", "blank"])
def test_a_variable_that_is_absent_or_empty_has_its_default(text: str | None) -> None:
    key = {"PROXY_API_KEY": KEY}
    wrong = [
        name
        for name, (attribute, default) in DEFAULTS.items()
        if name not in key
        and getattr(load_settings(key if text is None else key | {name: text}), attribute)
        != default
    ]
    assert wrong == []


@pytest.mark.parametrize(("name", "text", "value"), VALID)
def test_a_valid_value_is_parsed(name: str, text: str, value: Any) -> None:
    settings = load_settings({"PROXY_API_KEY": KEY, name: text})
    assert getattr(settings, DEFAULTS[name][0]) == value


@pytest.mark.parametrize(("name", "text", "expected"), INVALID)
def test_an_invalid_value_is_named_and_never_quoted(name: str, text: str, expected: str) -> None:
    problems = problems_of({"PROXY_API_KEY": KEY, name: text})
    assert problems == [f"{name} must be {expected}"]
    assert text not in problems[0].removeprefix(name)


@pytest.mark.parametrize("field", VARIABLES, ids=lambda field: field.metadata["name"])
def test_every_variable_says_what_it_means_in_one_sentence(field: Any) -> None:
    assert field.metadata["meaning"].endswith(".")


def test_all_problems_are_reported_together() -> None:
    problems = problems_of({"PORT": "x", "LOG_LEVEL": "x", "WORKER_BACKOFF_MAX_MS": "100"})
    assert problems == [
        "PORT must be a whole number from 0 to 65535.",
        "LOG_LEVEL must be one of debug, info, warning, error.",
        "PROXY_API_KEY is required: the key that clients send as bearer.",
        "WORKER_BACKOFF_INITIAL_MS must not exceed WORKER_BACKOFF_MAX_MS.",
    ]
    assert str(SettingsError(problems)) == "Settings refused: " + " ".join(problems)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"WORKER_BACKOFF_INITIAL_MS": "600", "WORKER_BACKOFF_MAX_MS": "599"},
            "WORKER_BACKOFF_INITIAL_MS must not exceed WORKER_BACKOFF_MAX_MS.",
        ),
        (
            {"PROXY_API_KEYS": "ann=same", "PROXY_ADMIN_KEY": "same"},
            "PROXY_ADMIN_KEY must differ from every key in PROXY_API_KEYS.",
        ),
        (
            {"PROXY_API_KEYS": "default=1"},
            "PROXY_API_KEYS: the name default belongs to PROXY_API_KEY.",
        ),
        (
            {"PROXY_API_KEYS": f"ann={KEY}"},
            "PROXY_API_KEYS: every key must differ from every other.",
        ),
        (
            {"PROXY_API_KEYS": "ann=1,bob=1"},
            "PROXY_API_KEYS: every key must differ from every other.",
        ),
        (
            {"PROXY_RATE_LIMITS": "eve=off,ann=1/day,bob=2/day", "PROXY_API_KEYS": "ann=1"},
            "PROXY_RATE_LIMITS: no key has the name bob, eve.",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    given: dict[str, str], problem: str
) -> None:
    assert problems_of({"PROXY_API_KEY": KEY, **given}) == [problem]


def test_equal_backoffs_do_not_contradict_each_other() -> None:
    given = {"WORKER_BACKOFF_INITIAL_MS": "600", "WORKER_BACKOFF_MAX_MS": "600"}
    assert load_settings({"PROXY_API_KEY": KEY, **given}).backoff_max_ms == 600


PROD_RULE = "needs 24 characters or more where PROXY_ENV is prod."


@pytest.mark.parametrize(
    ("key", "named", "problems"),
    [
        (KEY, "", []),
        (KEY, f"ann={OTHER_KEY}", []),
        (KEY[1:], "", [f"PROXY_API_KEY {PROD_RULE}"]),
        (KEY, f"ann={OTHER_KEY[1:]}", [f"PROXY_API_KEYS: the key of ann {PROD_RULE}"]),
        ("", "", ["PROXY_API_KEY is required: the key that clients send as bearer."]),
    ],
)
def test_prod_refuses_short_keys(key: str, named: str, problems: list[str]) -> None:
    given = {"PROXY_ENV": "prod", "PROXY_API_KEY": key, "PROXY_API_KEYS": named}
    if problems:
        assert problems_of(given) == problems
    else:
        assert load_settings(given).env == "prod"


@pytest.mark.parametrize("env", ["dev", "staging"])
def test_outside_prod_a_short_key_will_do(env: str) -> None:
    assert load_settings({"PROXY_ENV": env, "PROXY_API_KEY": "short"}).api_key == "short"


def test_a_key_that_is_wrong_is_not_missing_too() -> None:
    found = problems_of(
        {"PROXY_API_KEY": "a b", "PROXY_API_KEYS": "a b", "PROXY_RATE_LIMITS": "a=off"}
    )
    assert [problem.split()[0] for problem in found] == ["PROXY_API_KEY", "PROXY_API_KEYS"]


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("localhost", "localhost:80")],
)
def test_an_address_has_brackets_where_a_url_needs_them(host: str, address: str) -> None:
    settings = load_settings({"PROXY_API_KEY": KEY, "PROXY_HOST": host, "PORT": "80"})
    assert settings.address == address


def test_client_keys_are_all_keys_by_name() -> None:
    settings = load_settings({"PROXY_API_KEY": "one", "PROXY_API_KEYS": "ann=two"})
    assert settings.client_keys == {"default": "one", "ann": "two"}


def test_the_repr_shows_no_secret() -> None:
    settings = load_settings(
        {
            "PROXY_API_KEY": "canary-one",
            "PROXY_API_KEYS": "ann=canary-two",
            "CODEX_UPSTREAM_API_KEY": "canary-three",
            "PROXY_RATE_LIMIT_STORAGE": "redis://:canary-four@host",
            "PROXY_RESPONSE_STORE": "redis://:canary-five@host",
        }
    )
    assert "canary" not in repr(settings)
    assert "port=11435" in repr(settings)


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({"PROXY_API_KEY": KEY})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]
    assert isinstance(settings, Settings)


# .env and the environment


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / ".env"
    path.write_text("PORT=1\nPROXY_HOST='::1'\n# a comment\nPROXY_ENV=\nLOG_LEVEL\n")
    return path


def ours(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name in DEFAULTS}


def test_the_file_is_read_and_an_entry_without_a_value_is_empty(env_file: Path) -> None:
    from_file = {"PORT": "1", "PROXY_HOST": "::1", "PROXY_ENV": "", "LOG_LEVEL": ""}
    assert ours(read_environment(env_file)) == from_file


def test_the_environment_wins_over_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "2")
    read = read_environment(env_file)
    assert (read["PORT"], read["PROXY_HOST"]) == ("2", "::1")


def test_an_empty_value_of_the_environment_hides_that_of_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("PROXY_API_KEY", KEY)
    assert load_settings(read_environment(env_file)).port == 11435


def test_a_value_that_changes_in_the_file_is_seen_at_the_next_reading(env_file: Path) -> None:
    assert read_environment(env_file)["PORT"] == "1"
    env_file.write_text("PORT=3\n")
    assert read_environment(env_file)["PORT"] == "3"


def test_the_file_is_never_copied_into_the_environment(env_file: Path) -> None:
    before = dict(os.environ)
    read_environment(env_file)
    assert dict(os.environ) == before
    assert "PROXY_HOST" not in os.environ


def test_a_missing_file_is_an_empty_one(env_file: Path) -> None:
    assert ours(read_environment(env_file.with_name("none"))) == {}


def test_a_file_that_is_no_text_is_a_problem_like_any_other(env_file: Path) -> None:
    env_file.write_bytes(b"PROXY_API_KEY=canary\xff\n")
    with pytest.raises(SettingsError) as raised:
        read_environment(env_file)
    assert raised.value.problems == [".env cannot be read: it is not text in UTF-8."]


def test_without_an_argument_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (_, default) in DEFAULTS.items():
        if isinstance(default, str | int | bool) and default != "":
            monkeypatch.setenv(name, str(default))
    monkeypatch.setenv("PROXY_API_KEY", "from-the-environment")
    assert load_settings().api_key == "from-the-environment"


@pytest.mark.parametrize(
    ("given", "unknown"),
    [
        ([], []),
        (list(DEFAULTS), []),
        (["PATH", "HTTP_PROXY", "LOG_LEVELS"], []),
        (["WORKER_X", "PROXY_PORT", "CODEX_BINARY"], ["CODEX_BINARY", "PROXY_PORT", "WORKER_X"]),
    ],
)
def test_a_name_that_looks_like_ours_and_is_none_is_found(
    given: list[str], unknown: list[str]
) -> None:
    assert unknown_names(dict.fromkeys(given, "value")) == unknown


@pytest.mark.parametrize(
    "text",
    [
        "http://[canary]/v1",
        "http://me:canary\u2100@host/v1",
        "http://[::1/v1",
        "http://host:canary/v1",
        "http://ca nary/v1",
    ],
)
def test_an_address_that_cannot_be_taken_apart_is_not_quoted(text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"PROXY_API_KEY": "k", "CODEX_UPSTREAM_URL": text})
    assert raised.value.problems == ["CODEX_UPSTREAM_URL must be an address like https://host/v1."]


def test_the_home_of_nobody_is_a_problem_like_any_other() -> None:
    with pytest.raises(SettingsError):
        load_settings({"PROXY_API_KEY": "k", "CODEX_HOME": "~nobody-has-this-name/x"})


def test_a_number_of_thousands_of_digits_is_a_problem_like_any_other() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"PROXY_API_KEY": "k", "PORT": "9" * 5000})
    assert raised.value.problems == ["PORT must be a whole number from 0 to 65535."]


def test_a_backoff_that_did_not_parse_contradicts_nothing() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"PROXY_API_KEY": "k", "WORKER_BACKOFF_MAX_MS": "soon"})
    assert len(raised.value.problems) == 1


def test_prod_names_the_settings_whose_keys_are_too_short() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"PROXY_ENV": "prod", "PROXY_API_KEY": KEY, "PROXY_API_KEYS": "ann=short"})
    assert "PROXY_API_KEYS" in raised.value.problems[0]


@pytest.mark.parametrize("env", ["dev", "staging", "prod"])
def test_only_prod_refuses_words_in_traces(env: str) -> None:
    given = {"PROXY_ENV": env, "PROXY_API_KEY": KEY, "PROXY_TRACE_CONTENT": "true"}
    if env != "prod":
        assert load_settings(given).trace_content is True
        return
    with pytest.raises(SettingsError) as caught:
        load_settings({**given, "PROXY_API_KEYS": "ann=short"})
    assert caught.value.problems == [
        f"PROXY_API_KEYS: the key of ann {PROD_RULE}",
        "PROXY_TRACE_CONTENT must be false where PROXY_ENV is prod: prompts would lie on disk.",
    ]


@pytest.mark.parametrize("variable", ["PROXY_ADMIN_KEY", "PROXY_METRICS_TOKEN"])
def test_prod_refuses_short_keys_of_operators(variable: str) -> None:
    given = {"PROXY_ENV": "prod", "PROXY_API_KEY": KEY}
    with pytest.raises(SettingsError) as raised:
        load_settings({**given, variable: OTHER_KEY[1:]})
    assert raised.value.problems == [f"{variable} {PROD_RULE}"]
    load_settings({**given, variable: OTHER_KEY})


@pytest.mark.parametrize(
    ("env", "admin_key", "opens"),
    [
        ("dev", "", KEY),
        ("staging", "", KEY),
        ("prod", "", ""),
        ("dev", OTHER_KEY, OTHER_KEY),
        ("prod", OTHER_KEY, OTHER_KEY),
    ],
)
def test_what_opens_internal(env: str, admin_key: str, opens: str) -> None:
    given = {"PROXY_ENV": env, "PROXY_API_KEY": KEY, "PROXY_ADMIN_KEY": admin_key}
    assert load_settings(given).operator_key == opens


def test_models_of_an_upstream_need_an_upstream() -> None:
    given = {"PROXY_API_KEY": "k", "CODEX_UPSTREAM_MODELS": "auto, codex,meta/Llama-3.3:70b,auto"}
    with pytest.raises(SettingsError, match="CODEX_UPSTREAM_MODELS needs CODEX_UPSTREAM_URL"):
        load_settings(given)
    settings = load_settings({**given, "CODEX_UPSTREAM_URL": "http://host/v1"})
    assert settings.upstream_models == ("auto", "codex", "meta/Llama-3.3:70b")


def test_processes_for_each_turn_take_open_files() -> None:
    few = {"PROXY_API_KEY": KEY, "WORKER_MAX_CONCURRENCY": "10", "WORKER_PER_REQUEST_SPARE": "2"}
    assert load_settings(few).other_descriptors == 256
    assert load_settings({**few, "PROXY_USE_APP_SERVER": "false"}).other_descriptors == 256 + 4 * 12


def test_proto_is_an_act_of_its_own_with_a_binary_of_its_own() -> None:
    given = {"PROXY_API_KEY": KEY, "WORKER_PER_REQUEST_DIALECT": "proto"}
    with pytest.raises(SettingsError, match="WORKER_PER_REQUEST_DIALECT=proto needs CODEX_BIN"):
        load_settings(given)
    binary = {"CODEX_BIN": "/opt/codex-0.42/codex"}
    settings = load_settings(given | binary)
    assert (settings.codex_bin, settings.app_server_bin) == (Path("/opt/codex-0.42/codex"), None)
    other = load_settings({"PROXY_API_KEY": KEY} | binary)
    assert other.app_server_bin == other.codex_bin


def test_prod_refuses_proto() -> None:
    given = {"PROXY_API_KEY": KEY, "WORKER_PER_REQUEST_DIALECT": "proto", "CODEX_BIN": "/codex"}
    load_settings(given | {"PROXY_ENV": "staging"})
    with pytest.raises(SettingsError) as raised:
        load_settings(given | {"PROXY_ENV": "prod"})
    assert raised.value.problems == [
        "WORKER_PER_REQUEST_DIALECT must be app-server where PROXY_ENV is prod: proto offers the model a shell."
    ]
