"""HTTP to an upstream from the gateway itself, on the child's way: the same proxies and certificates, no redirect.

For what codex does not do or does not tell: the upstream's list of models, and why it cannot be reached. Bounded in
time and size; `.netrc` is not read. Failures are `Unreachable`, which has a word for the cause and a sentence without
the address.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import gevent
import requests
from gevent import monkey
from gevent.util import wrap_errors
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from app.scrub import one_line

CAUSES = (
    "refused",
    "dns",
    "tls",
    "timeout",
    "unreachable",
    "proxy",
    "broken",
    "status",
    "untried",
    "other",
)
"""Words for why there is no answer: those that an operator acts upon in different ways."""

_PROXY_SCHEMES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_BLOCK = 16 * 1024
_LATE_S = 1.0
_NO_MORE: Mapping[str, str] = MappingProxyType({})
_HANDSHAKE: Mapping[str, str] = MappingProxyType(
    {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "OpenAI-Beta": "responses_websockets=2026-02-06",  # as codex sends it
    }
)


class Unreachable(Exception):
    """There was no usable answer. `cause` is one of `CAUSES`; the message has neither address nor key."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class UpstreamHttp:
    """The way out. `ca_certificate` is trusted beside the system's certificates, or those of `SSL_CERT_FILE`."""

    ca_certificate: Path | None = None

    def touch(self, url: str, timeout_s: float) -> None:
        """Send a request without a key: any answer will do. Blocks; raises `Unreachable`."""

        def send() -> None:
            with self._open("HEAD", url, "", timeout_s):
                pass

        _in_time(send, timeout_s)

    def read(self, url: str, key: str, *, timeout_s: float, most_bytes: int) -> bytes:
        """Return the body at an address. Blocks for `timeout_s` at most; raises `Unreachable`, also for any but 200."""
        return _in_time(lambda: self._read(url, key, timeout_s, most_bytes), timeout_s)

    def upgrades(self, url: str, key: str, timeout_s: float) -> bool:
        """Return True if a WebSocket's handshake is accepted at an address. Blocks; raises `Unreachable`."""

        def send() -> bool:
            handshake = {**_HANDSHAKE, "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode()}
            with self._open("GET", url, key, timeout_s, handshake) as response:
                return response.status_code == HTTPStatus.SWITCHING_PROTOCOLS

        return _in_time(send, timeout_s)

    def _read(self, url: str, key: str, timeout_s: float, most_bytes: int) -> bytes:
        ends = time.monotonic() + timeout_s
        with self._open("GET", url, key, timeout_s) as response:
            if response.status_code != HTTPStatus.OK:
                raise Unreachable("status", f"It answered {response.status_code}.")
            body = bytearray()
            for block in response.iter_content(_BLOCK):
                body += block
                if len(body) > most_bytes:
                    raise Unreachable("other", f"It answered with more than {most_bytes} bytes.")
                if time.monotonic() > ends:
                    raise Unreachable("timeout", "Its answer took too long.")
        return bytes(body)

    def _open(
        self, method: str, url: str, key: str, timeout_s: float, more: Mapping[str, str] = _NO_MORE
    ) -> _Exchange:
        return _Exchange(self, method, url, key, timeout_s, more)


T = TypeVar("T")


def _in_time(call: Callable[[], T], timeout_s: float) -> T:
    """Return what `call` returns; raise `Unreachable` where it has not come to an end in time."""
    if monkey.is_module_patched("socket"):
        return call()  # its own timer ends it
    # In a command sockets are not gevent's, and a timer of gevent's never fires: leave it to a thread, and go on.
    results: list[T | Unreachable] = []
    attempt = wrap_errors((Unreachable,), call)
    thread = threading.Thread(target=lambda: results.append(attempt()), daemon=True)
    thread.start()
    thread.join(timeout_s + _LATE_S)
    if not results:
        raise Unreachable("timeout", f"{_WORDS['timeout']}.")
    if isinstance(results[0], Unreachable):
        raise results[0]
    return results[0]


class _Exchange:
    """One request, its answer's head read; a context manager in which every failure is `Unreachable`."""

    def __init__(
        self,
        way: UpstreamHttp,
        method: str,
        url: str,
        key: str,
        timeout_s: float,
        more: Mapping[str, str],
    ) -> None:
        self._way, self._method, self._url, self._key = way, method, url, key
        self._timeout_s, self._more = timeout_s, more
        # What requests itself does not bound: the look-up of a name, and pieces that keep coming.
        self._timer = gevent.Timeout(timeout_s + _LATE_S, requests.Timeout)
        self._session = requests.Session()

    def __enter__(self) -> requests.Response:
        try:
            self._timer.start()
            return self._send()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def _send(self) -> requests.Response:
        session = self._session
        session.trust_env = False
        session.mount("https://", _TrustingAdapter(self._way.ca_certificate))
        scheme = urlsplit(self._url).scheme
        proxy = proxy_for(self._url, getproxies_environment())
        paths = ssl.get_default_verify_paths()  # where SSL_CERT_FILE and SSL_CERT_DIR count, too
        return session.request(
            self._method,
            self._url,
            headers={"Authorization": f"Bearer {self._key}" if self._key else None, **self._more},
            proxies={scheme: proxy} if proxy else {},
            verify=paths.cafile or paths.capath or True,
            timeout=self._timeout_s,
            allow_redirects=False,
            stream=True,
        )

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._timer.close()
        self._session.close()
        if isinstance(error, requests.RequestException | HTTPError | OSError | ValueError):
            raise _failure(error) from None


class _TrustingAdapter(HTTPAdapter):
    """Adapter whose connections also trust one more file of certificates."""

    def __init__(self, ca_certificate: Path | None) -> None:
        self._context = create_urllib3_context()
        if ca_certificate is not None:
            self._context.load_verify_locations(ca_certificate)
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)


# Proxies, as the child reads them


def proxy_for(url: str, proxies: Mapping[str, str]) -> str | None:
    """Return the proxy for an address; None for a direct way. One that is no address is ignored, as codex does.

    `proxies` are those of the environment, as `getproxies_environment` gives them: `http` is HTTP_PROXY.
    """
    parts = urlsplit(url)
    if _is_direct(parts.hostname or "", proxies.get("no", "")):
        return None
    for kind in (parts.scheme, "all"):
        value = proxies.get(kind, "").strip()
        if value and _is_proxy(value):
            return value if "://" in value else f"http://{value}"
    return None


def odd_proxies(proxies: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the environment's variables that should hold a proxy's address, and do not."""
    found = getproxies_environment() if proxies is None else proxies
    values = {kind: found.get(kind, "").strip() for kind in ("http", "https", "all")}
    return [
        f"{kind.upper()}_PROXY" for kind, value in values.items() if value and not _is_proxy(value)
    ]


def _is_proxy(value: str) -> bool:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        is_whole = bool(parts.hostname) and parts.port != 0 and " " not in value
    except ValueError:
        return False
    return is_whole and parts.scheme in _PROXY_SCHEMES


def _is_direct(host: str, no_proxy: str) -> bool:
    """Whether a host is excepted: `*`, a name and what is below it, an address, or a network (`10.0.0.0/8`)."""
    entries = [entry for entry in (part.strip().lower() for part in no_proxy.split(",")) if entry]
    if "*" in entries:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        names = [entry.removeprefix("*").lstrip(".") for entry in entries]
        return any(name and (host == name or host.endswith(f".{name}")) for name in names)
    return any(address in network for network in _networks(entries))


def _networks(entries: list[str]) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for entry in entries:
        try:
            yield ipaddress.ip_network(entry, strict=False)
        except ValueError:
            continue  # a name


# Causes


def _failure(error: BaseException) -> Unreachable:
    chain = list(_chain(error))
    cause = _cause(chain)
    return Unreachable(cause, f"{_WORDS[cause]} ({one_line(_reason(chain), 200)}).")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, the surface first. urllib3 keeps causes in members of its own, too."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        here = pending.pop(0)
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        inner = (here.__cause__, here.__context__, getattr(here, "reason", None), *here.args)
        pending += [cause for cause in inner if isinstance(cause, BaseException)]


_BY_CLASS: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
    ("untried", (requests.exceptions.InvalidSchema,)),  # a SOCKS proxy, which requests cannot use
    ("proxy", (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL)),
    ("dns", (socket.gaierror,)),
    ("tls", (ssl.SSLError, requests.exceptions.SSLError)),
    ("refused", (ConnectionRefusedError,)),
    ("timeout", (requests.Timeout, TimeoutError)),
    ("broken", (ConnectionError, requests.exceptions.ChunkedEncodingError)),
)

_WORDS: Mapping[str, str] = {
    "refused": "Its address refused the connection",
    "dns": "Its name cannot be resolved",
    "tls": "Its certificate is not trusted, or it speaks no TLS",
    "timeout": "It did not answer in time",
    "unreachable": "There is no way to its network",
    "proxy": "The proxy in between did not let the request through",
    "broken": "It broke off the connection",
    "status": "It answered with an error",
    "untried": "It was not tried through a SOCKS proxy",
    "other": "The request failed",
}


def _cause(chain: list[BaseException]) -> str:
    for word, kinds in _BY_CLASS:
        if any(isinstance(error, kinds) for error in chain):
            return word
    if any(isinstance(error, OSError) and error.errno in _NO_WAY for error in chain):
        return "unreachable"
    return "other"


def _reason(chain: list[BaseException]) -> str:
    """Return the system's own words, from the depth; what surrounds them quotes addresses."""
    for error in reversed(chain):
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or "certificate verify failed"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
    return type(chain[-1]).__name__
