"""Parsers of the texts of settings: each returns the value, or raises `ValueError` with what was expected.

A message never quotes the text: one of the values may be a key.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: relative paths in settings start here, wherever the service was started from."""

_FLAGS = {"true": True, "1": True, "yes": True, "on": True}
_FLAGS |= {"false": False, "0": False, "no": False, "off": False}

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def text(value: str) -> str:
    """Take any text."""
    return value


_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})")


def host(value: str) -> str:
    """Take an IP address, of IPv6 also in brackets, or the name of a host; return it without brackets."""
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        found = None
    if found is not None and not getattr(found, "scope_id", None):
        return str(found)
    if found is not None or not _HOST_NAME.fullmatch(value):
        raise ValueError("an IP address (without a zone) or the name of a host")
    return value.lower()


def peers(value: str) -> str:
    """Take IP addresses and networks separated by commas; `*` is everybody."""
    for part in filter(None, map(str.strip, value.split(","))):
        try:
            _ = part == "*" or ipaddress.ip_network(part)
        except ValueError:
            raise ValueError("IP addresses or networks, separated by commas, or *") from None
    return value


_SECRET = re.compile(r"[!#-&(-~]{1,4096}")
_OF_A_HEADER = "letters, digits and signs of ASCII, without spaces and quotes, at most 4096"


def secret(value: str) -> str:
    """Take a key as a client can send it in `Authorization: Bearer`, or nothing."""
    if value and not _SECRET.fullmatch(value):
        raise ValueError(f"{_OF_A_HEADER}: it travels in a header")
    return value


def secrets(value: str) -> Mapping[str, str]:
    """Take keys by their names, as `name=key,name=key`."""
    keys = named("key")(value)
    if not all(map(_SECRET.fullmatch, keys.values())):
        raise ValueError(f"name=key,name=key, with keys of {_OF_A_HEADER}: they travel in a header")
    return keys


def flag(value: str) -> bool:
    """Take true or false, in the usual spellings."""
    if value.lower() not in _FLAGS:
        raise ValueError("true or false")
    return _FLAGS[value.lower()]


def flag_or_auto(value: str) -> bool | None:
    """Take true or false, or auto (None) for what is found out."""
    if value.lower() == "auto":
        return None
    if value.lower() not in _FLAGS:
        raise ValueError("auto, true or false")
    return _FLAGS[value.lower()]


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in a range."""

    def parse(value: str) -> int:
        is_number = value.isascii() and value.isdigit() and len(value) <= len(str(high))
        if not is_number or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


milliseconds = whole(1, 86_400_000)


def optional_milliseconds(value: str) -> int | None:
    """Take a duration, or nothing where another setting decides."""
    return milliseconds(value) if value else None


def one_of(*names: str) -> Callable[[str], str]:
    """Return a parser of a fixed set of words."""

    def parse(value: str) -> str:
        if value.lower() not in names:
            raise ValueError("one of " + ", ".join(names))
        return value.lower()

    return parse


def path(value: str) -> Path:
    """Take a path; a relative one starts at the checkout."""
    try:
        return (ROOT / Path(value).expanduser()).resolve()
    except (RuntimeError, OSError, ValueError):
        raise ValueError("a path") from None


def optional_path(value: str) -> Path | None:
    """Take a path, or nothing."""
    return path(value) if value else None


def upstream_url(value: str) -> str:
    """Take the address of a Responses API, or nothing; without a slash at the end."""
    if not value:
        return ""
    return _http_address(value, "https://host/v1", "CODEX_UPSTREAM_API_KEY is")


def collector_url(value: str) -> str:
    """Take the address of an OTLP collector; without a slash at the end."""
    return _http_address(value, "http://host:4318", "OTEL_EXPORTER_OTLP_HEADERS are")


def _http_address(value: str, example: str, for_keys: str) -> str:
    expected = f"an address like {example}"
    try:
        parts = urlsplit(value)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        # Not the parser's own sentence: it quotes the value, which may hold a key.
        raise ValueError(expected) from None
    if parts.scheme not in {"http", "https"} or not is_whole or set(value) & set(" \t?#"):
        raise ValueError(expected)
    if parts.username or parts.password:
        raise ValueError(f"an address without a key in it ({for_keys} for that)")
    return value.rstrip("/")


_PEM = re.compile(
    rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----\s+(.+?)-----END (?:TRUSTED )?CERTIFICATE-----",
    re.DOTALL,
)
_SEQUENCE = 0x30  # what the DER of a certificate begins with


def certificates(value: str) -> Path | None:
    """Take the path of a file that can be read and has a certificate in PEM, or nothing."""
    if not value:
        return None
    file = path(value)
    try:
        # Not by `ssl`: gunicorn's master, which loads this, must not import it before gevent has patched it.
        found = [binascii.a2b_base64(block) for block in _PEM.findall(file.read_bytes())]
    except (OSError, ValueError):
        found = []
    if not found or not all(der[:1] == bytes([_SEQUENCE]) for der in found):
        raise ValueError("a file that can be read and holds certificates in PEM")
    return file


_NAME_LENGTH = 200


def model_words(value: str) -> tuple[str, ...]:
    """Take names of models, `auto` and `codex`, separated by commas."""
    given = tuple(dict.fromkeys(filter(None, (part.strip() for part in value.split(",")))))
    if not all(len(name) <= _NAME_LENGTH and name.isprintable() for name in given):
        raise ValueError("auto, codex, or names of models, separated by commas")
    return given


def named(what: str) -> Callable[[str], Mapping[str, str]]:
    """Return a parser of `name=key,name=key`, where `what` is the word for a key."""

    def parse(value: str) -> Mapping[str, str]:
        keys: dict[str, str] = {}
        for entry in filter(None, (part.strip() for part in value.split(","))):
            name, separator, key = entry.partition("=")
            name, key = name.strip(), key.strip()
            if not separator or not name or not key or name in keys:
                raise ValueError(f"name={what},name={what} with every name once")
            if len(name) > _NAME_LENGTH or not name.isprintable():
                raise ValueError(
                    f"name={what}, with names of at most {_NAME_LENGTH} printable characters"
                )
            keys[name] = key
        return keys

    return parse


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


def headers(value: str) -> Mapping[str, str]:
    """Take HTTP headers as OpenTelemetry writes them: `name=value,name=value`, values percent-encoded where need be."""
    expected = "name=value,name=value with names and values of HTTP headers"
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, separator, encoded = entry.partition("=")
        name, text = name.strip().lower(), unquote(encoded.strip())
        if not separator or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError(expected)
        found[name] = text
    return found


def origins(value: str) -> tuple[str, ...]:
    """Take web origins as browsers write them; `*` is every one, `off` is none."""
    if value.lower() == "off":
        return ()
    given = tuple(filter(None, (part.strip().lower() for part in value.split(","))))
    if given != ("*",) and not all(map(_ORIGIN.fullmatch, given)):
        raise ValueError("*, off, or origins like https://host:port without a path, and commas")
    return given


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` requests in any `seconds`."""

    limit: int
    seconds: int


_SPANS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}

_WINDOW = re.compile(
    r"([0-9]{1,7})\s*(?:/|\s+per\s+)\s*(?:([0-9]{1,3})\s*)?(second|minute|hour|day)s?",
    re.IGNORECASE,
)

_MAX_LIMIT = 100_000
_MAX_WINDOW_S = 31 * 86_400

_RATE_LIMIT = (
    f"off, or limits like 60/minute;1000/hour: 1 to {_MAX_LIMIT} requests in a second, minute, hour or day, "
    "or in several of them (10/5 minutes, at most 31 days), each length once"
)


def rate_limit(value: str) -> tuple[Window, ...]:
    """Take windows as `60/minute;1000/hour`, the shortest first in the result; `off` is none."""
    if value.lower() == "off":
        return ()
    windows = sorted(map(_window, value.split(";")), key=lambda window: window.seconds)
    if len({window.seconds for window in windows}) != len(windows):
        raise ValueError(_RATE_LIMIT)
    return tuple(windows)


def _window(text: str) -> Window:
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError(_RATE_LIMIT)
    window = Window(int(found[1]), int(found[2] or 1) * _SPANS[found[3].lower()])
    if not 1 <= window.limit <= _MAX_LIMIT or not 1 <= window.seconds <= _MAX_WINDOW_S:
        raise ValueError(_RATE_LIMIT)
    return window


def rate_limits(value: str) -> Mapping[str, tuple[Window, ...]]:
    """Take limits by the name of a key, as `name=10/minute;100/hour,name=off`."""
    return {name: rate_limit(text) for name, text in named("limit")(value).items()}


def rate_limit_storage(value: str) -> str:
    """Take `memory://`, or the address of a Redis server."""
    return value if value == "memory://" else _redis_url(value, "memory://")


def response_store(value: str) -> str:
    """Take `sqlite`, `off`, or the address of a Redis server."""
    word = value.lower()
    return word if word in {"sqlite", "off"} else _redis_url(value, "sqlite, off")


def _redis_url(value: str, or_else: str) -> str:
    expected = (
        f"{or_else}, or an address like redis://:password@host:6379/0, rediss://… or unix:///path"
    )
    try:
        parts = urlsplit(value)
        is_whole = (
            bool(parts.path if parts.scheme == "unix" else parts.hostname) and parts.port != 0
        )
    except ValueError:
        # Not the parser's own sentence: it quotes the value, which may hold a password.
        raise ValueError(expected) from None
    is_redis = (
        is_whole and parts.scheme in {"redis", "rediss", "unix"} and not set(value) & set(" ?#")
    )
    if not is_redis:
        raise ValueError(expected)
    return value
