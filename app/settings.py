"""Every setting: its variable, its default, one sentence. Read once into a frozen `Settings`.

The environment wins over `.env`, which is read afresh each time (so that a value changes at HUP) and never copied into
`os.environ` (so that it does not stick, and does not reach the child). All problems are reported together, by name.

This module imports nothing from `app`: `gunicorn.conf.py` runs it by path in the master, where the application must
not be loaded (a module that the master has loaded would not be loaded afresh by a worker after HUP).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: relative paths in settings start here, wherever the service was started from."""

MIN_PROD_KEY_LENGTH = 24


class SettingsError(Exception):
    """One or more settings are wrong. `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Settings refused: " + " ".join(problems))
        self.problems = problems


# Parsers: text to value, or ValueError with what was expected.


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}
    if value.lower() not in known:
        raise ValueError("true or false")
    return known[value.lower()]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        is_number = value.isascii() and value.isdigit() and len(value) <= len(str(high))
        if not is_number or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in names:
            raise ValueError("one of " + ", ".join(names))
        return value.lower()

    return parse


def _path(value: str) -> Path:
    try:
        return (ROOT / Path(value).expanduser()).resolve()
    except (RuntimeError, OSError):
        raise ValueError("a path") from None


def _optional_path(value: str) -> Path | None:
    return _path(value) if value else None


def _upstream_url(value: str) -> str:
    if not value:
        return ""
    expected = "an address like https://host/v1"
    try:
        parts = urlsplit(value)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        # Not the parser's own sentence: it quotes the value, which may hold a key.
        raise ValueError(expected) from None
    if parts.scheme not in {"http", "https"} or not is_whole or set(value) & set(" \t?#"):
        raise ValueError(expected)
    if parts.username or parts.password:
        raise ValueError("an address without a key in it (CODEX_UPSTREAM_API_KEY is for that)")
    return value.rstrip("/")


def _named(value: str, what: str = "key") -> Mapping[str, str]:
    """Parse `name=key,name=key`."""
    keys: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, separator, key = entry.partition("=")
        if not separator or not name.strip() or not key.strip() or name.strip() in keys:
            raise ValueError(f"name={what},name={what} with every name once")
        keys[name.strip()] = key.strip()
    return keys


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def _origins(value: str) -> tuple[str, ...]:
    """Parse web origins as browsers write them; `*` is every one, `off` is none."""
    if value.lower() == "off":
        return ()
    origins = tuple(filter(None, (part.strip().lower() for part in value.split(","))))
    if origins != ("*",) and not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError("*, off, or origins like https://host:port without a path, and commas")
    return origins


_MS = _whole(1, 86_400_000)


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
    env: str = _var("PROXY_ENV", "dev", _one_of("dev", "staging", "prod"), "Profile: dev, staging or prod; prod refuses unsafe settings.")
    host: str = _var("PROXY_HOST", "127.0.0.1", _text, "Address to listen on.")
    port: int = _var("PORT", "11435", _whole(0, 65535), "Port to listen on; 0 takes a free one.")
    api_key: str = _var("PROXY_API_KEY", "", _text, "The key that clients send as bearer; required.", secret=True)
    api_keys: Mapping[str, str] = _var("PROXY_API_KEYS", "", _named, "More client keys: name=key,name=key.", secret=True)
    use_app_server: bool = _var("PROXY_USE_APP_SERVER", "true", _flag, "Answer through codex app-server; false is refused until another backend exists.")
    protect_models: bool = _var("PROXY_PROTECT_MODELS", "true", _flag, "Ask for a key on the model list, too.")
    default_model: str = _var("PROXY_DEFAULT_MODEL", "", _text, "The model of a request that names none; without it such a request is refused.")
    model_aliases: Mapping[str, str] = _var("PROXY_MODEL_ALIASES", "", lambda text: _named(text, "model"), "More names for models: name=model,name=model-effort.")
    cors_origins: tuple[str, ...] = _var("PROXY_CORS_ALLOWED_ORIGINS", "*", _origins, "Web origins whose pages may call from a browser, separated by commas; * for all, off for none.")
    trusted_proxies: str = _var("PROXY_TRUSTED_PROXIES", "127.0.0.1", _text, "Addresses whose X-Forwarded-* headers are believed, separated by commas.")
    stream_commit_ms: int = _var("PROXY_STREAM_COMMIT_MS", "300", _MS, "How long a stream waits for its first event before the 200 is sent; a failure in that time is an ordinary HTTP error.")
    sse_keepalive_ms: int = _var("PROXY_SSE_KEEPALIVE_MS", "15000", _MS, "Silence after which a stream sends a comment, so that proxies keep it open.")
    timeout_ms: int = _var("PROXY_TIMEOUT_MS", "1800000", _MS, "Longest time for a whole request.")
    keepalive_s: int = _var("PROXY_KEEPALIVE_S", "95", _whole(1, 3600), "How long an idle client connection stays open.")
    body_timeout_ms: int = _var("PROXY_BODY_TIMEOUT_MS", "60000", _MS, "Longest time for a request's body to arrive.")
    fetch_images: bool = _var("PROXY_FETCH_IMAGES", "true", _flag, "Download images that a request names by http(s) address; false refuses them.")
    max_choices: int = _var("PROXY_MAX_CHOICES", "8", _whole(1, 128), "Most choices (n) that one request may ask for; each is a turn, so never more than WORKER_MAX_CONCURRENCY.")
    reasoning: str = _var("PROXY_REASONING", "reasoning_content", _one_of("reasoning_content", "off"), "Where the model's reasoning is shown: in reasoning_content beside the content, or not at all (off).")
    max_body_bytes: int = _var("PROXY_MAX_BODY_BYTES", "33554432", _whole(1024, 1 << 30), "Longest request body.")
    max_concurrency: int = _var("WORKER_MAX_CONCURRENCY", "64", _whole(1, 1024), "Turns that run at once.")
    queue_max: int = _var("WORKER_QUEUE_MAX", "256", _whole(0, 100_000), "Requests that may wait for a turn; one more is answered 429.")
    queue_timeout_ms: int = _var("WORKER_QUEUE_TIMEOUT_MS", "10000", _MS, "Longest wait for a turn slot, or for a child that restarts.")
    request_timeout_ms: int = _var("WORKER_REQUEST_TIMEOUT_MS", "300000", _MS, "Longest silence of the upstream, before the first event and between events.")
    rpc_timeout_ms: int = _var("WORKER_RPC_TIMEOUT_MS", "10000", _MS, "Longest wait for the child to acknowledge one call.")
    startup_timeout_ms: int = _var("WORKER_STARTUP_TIMEOUT_MS", "8000", _MS, "Longest wait for the child's handshake.")
    backoff_initial_ms: int = _var("WORKER_BACKOFF_INITIAL_MS", "250", _MS, "Wait before the first restart of the child; doubles with each failure in a row.")
    backoff_max_ms: int = _var("WORKER_BACKOFF_MAX_MS", "5000", _MS, "Longest wait between restarts of the child.")
    shutdown_grace_ms: int = _var("WORKER_SHUTDOWN_GRACE_MS", "10000", _MS, "How long open requests may finish after TERM or HUP.")
    codex_home: Path = _var("CODEX_HOME", "./.codex-api", _path, "Where everything that the service writes lives.")
    codex_bin: Path | None = _var("CODEX_BIN", "", _optional_path, "Another codex binary than the one that requirements.txt brings.")
    upstream_url: str = _var("CODEX_UPSTREAM_URL", "", _upstream_url, "A Responses API to use instead of OpenAI's, like http://host/v1.")
    upstream_api_key: str = _var("CODEX_UPSTREAM_API_KEY", "", _text, "The key for CODEX_UPSTREAM_URL.", secret=True)
    upstream_websockets: bool = _var("CODEX_UPSTREAM_WEBSOCKETS", "false", _flag, "Whether that upstream also speaks the WebSocket variant.")
    log_level: str = _var("LOG_LEVEL", "info", _one_of("debug", "info", "warning", "error"), "Least severe level that is logged.")
    # fmt: on

    @property
    def client_keys(self) -> Mapping[str, str]:
        """Every key that opens `/v1`, by its name; `PROXY_API_KEY` is called `default`."""
        return {"default": self.api_key, **self.api_keys}


VARIABLES: tuple[Field[Any], ...] = fields(Settings)


def read_environment(env_file: Path = ROOT / ".env") -> dict[str, str]:
    """Return `.env` overlaid with the environment, also where the environment's value is empty."""
    from_file = {name: value or "" for name, value in dotenv_values(env_file).items()}
    return from_file | dict(os.environ)


def load_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Parse and check every setting; an empty value means the default.

    Raises `SettingsError` with all problems at once; values are never quoted, since one of them may be a key.
    """
    source = read_environment() if variables is None else variables
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in VARIABLES:
        name = variable.metadata["name"]
        text = source.get(name, "").strip() or variable.metadata["default"]
        try:
            values[variable.name] = variable.metadata["parse"](text)
        except ValueError as error:
            problems.append(f"{name} must be {error}.")
    problems += _conflicts(values)
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def _conflicts(values: Mapping[str, Any]) -> list[str]:
    """Check what no single parser can see. A value that did not parse is simply not there."""
    problems = []
    if not values.get("api_key"):
        problems.append("PROXY_API_KEY is required: the key that clients send as bearer.")
    if values.get("use_app_server") is False:
        problems.append("PROXY_USE_APP_SERVER=false: there is no other backend yet.")
    if values.get("backoff_initial_ms", 0) > values.get("backoff_max_ms", math.inf):
        problems.append("WORKER_BACKOFF_INITIAL_MS must not exceed WORKER_BACKOFF_MAX_MS.")
    named = values.get("api_keys", {})
    if "default" in named:
        problems.append("PROXY_API_KEYS: the name default belongs to PROXY_API_KEY.")
    keys = [values.get("api_key", ""), *named.values()]
    if len(set(keys)) != len(keys):
        problems.append("PROXY_API_KEYS: every key must differ from every other.")
    if values.get("env") == "prod":
        problems += _unsafe(values.get("api_key", ""), named)
    return problems


def _unsafe(api_key: str, named: Mapping[str, str]) -> list[str]:
    """Check what production does not allow."""
    rule = f"needs {MIN_PROD_KEY_LENGTH} characters or more where PROXY_ENV is prod."
    problems = []
    if 0 < len(api_key) < MIN_PROD_KEY_LENGTH:
        problems.append(f"PROXY_API_KEY {rule}")
    short = [name for name, key in named.items() if len(key) < MIN_PROD_KEY_LENGTH]
    if short:
        problems.append(f"PROXY_API_KEYS: the key of {', '.join(short)} {rule}")
    return problems


def unknown_names(variables: Mapping[str, str]) -> list[str]:
    """Return names that look like settings of ours and are none: a typing error that would be ignored silently."""
    known = {variable.metadata["name"] for variable in VARIABLES}
    ours = ("PROXY_", "WORKER_", "CODEX_")
    return sorted(name for name in variables if name.startswith(ours) and name not in known)
