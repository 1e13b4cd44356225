"""Profiles (`PROXY_ENV`): what `prod` refuses of settings that are all valid, and what deserves a word.

Pure: parsed values in, sentences out, each with the name of its variable and never with a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

MIN_PROD_KEY_LENGTH = 24

Finding = tuple[str, str]
"""The variable, and the rest of the sentence about it."""

_OWN_KEYS: Mapping[str, str] = {
    "PROXY_API_KEY": "api_key",
    "PROXY_ADMIN_KEY": "admin_key",
    "PROXY_METRICS_TOKEN": "metrics_token",
}

_WELL_KNOWN = re.compile(
    "change-?me|change-?this|replace|placeholder|example|default|password|insecure|your-?(api-?)?key|test-?key|"
    r"\.\.\.|\N{HORIZONTAL ELLIPSIS}|x{6}",
    re.IGNORECASE,
)
"""Words of templates, documents and tests. A random key has none of them."""

_MIN_DISTINCT = 6
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[?::1\]?")


def refusals(parsed: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what production does not allow; in `staging` it is worth a warning. What did not parse is not there."""
    for name, key in _keys(parsed):
        if len(key) < MIN_PROD_KEY_LENGTH:
            yield name, f"needs {MIN_PROD_KEY_LENGTH} characters or more where PROXY_ENV is prod."
        elif is_guessable(key):
            yield name, "can be guessed; make a random one (openssl rand -hex 32)."
    yield from _shared_keys(parsed)
    if parsed.get("trace_content"):
        yield (
            "PROXY_TRACE_CONTENT",
            "must be false where PROXY_ENV is prod: prompts would lie on disk.",
        )
    if parsed.get("per_request_dialect") == "proto":
        yield (
            "WORKER_PER_REQUEST_DIALECT",
            "must be app-server where PROXY_ENV is prod: proto offers the model a shell.",
        )
    trusts_all = "*" in parsed.get("trusted_proxies", "").replace(" ", "").split(",")
    if trusts_all and not _is_loopback(parsed.get("host", "")):
        yield "PROXY_TRUSTED_PROXIES", "must name the proxies where others can connect, too."


def advice(parsed: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is allowed, and perhaps not meant."""
    if parsed["env"] == "staging":
        yield from refusals(parsed)
    if parsed["env"] != "prod":
        return
    if not parsed["admin_key"]:
        yield "PROXY_ADMIN_KEY", "is not set, so /internal does not exist (maintenance, log level)."
    if not parsed["metrics_token"]:
        yield "PROXY_METRICS_TOKEN", "is not set, so PROXY_API_KEY opens /metrics."
    if "*" in parsed["cors_origins"]:
        yield "PROXY_CORS_ALLOWED_ORIGINS", "is *: any page may call, with a key."
    if parsed["log_level"] == "debug":
        yield "LOG_LEVEL", "is debug: many lines, and none with a prompt or a key."
    upstream = urlsplit(parsed["upstream_url"])
    if upstream.scheme == "http" and not _is_loopback(upstream.hostname or ""):
        yield (
            "CODEX_UPSTREAM_URL",
            "is not https: prompts and the upstream's key travel unencrypted.",
        )


def is_guessable(key: str) -> bool:
    """True for a key out of a document, of few different characters, or of one piece over and over."""
    repeats = any(key[period:] == key[:-period] for period in range(1, len(key) // 2 + 1))
    return bool(_WELL_KNOWN.search(key)) or len(set(key)) < _MIN_DISTINCT or repeats


def _keys(parsed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every key that is set, and where."""
    for name, attribute in _OWN_KEYS.items():
        if parsed.get(attribute):
            yield name, parsed[attribute]
    for client, key in parsed.get("api_keys", {}).items():
        yield f"PROXY_API_KEYS: the key of {client}", key


def _shared_keys(parsed: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the keys of operators and scrapers that open another door, too."""
    known = dict(_keys(parsed))
    admin, token = known.get("PROXY_ADMIN_KEY"), known.get("PROXY_METRICS_TOKEN")
    if admin and admin == known.get("PROXY_API_KEY"):
        yield "PROXY_ADMIN_KEY", "must differ from PROXY_API_KEY where PROXY_ENV is prod."
    others = {key for name, key in known.items() if name != "PROXY_METRICS_TOKEN"}
    if token in others:
        yield "PROXY_METRICS_TOKEN", "must differ from every other key where PROXY_ENV is prod."


def _is_loopback(host: str) -> bool:
    return _LOOPBACK.fullmatch(host.lower()) is not None
