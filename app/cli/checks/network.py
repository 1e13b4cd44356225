"""Check of the way to the upstream: whether a connection can be made, with TLS where the child uses it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import gevent
from gevent import socket as patient_socket
from gevent import ssl as patient_ssl

from app.cli.account import API_KEY, CHATGPT
from app.cli.checks import Result, fail, ok
from app.codex.config import Upstream, UpstreamKind

TIMEOUT_S = 5.0

_OPENAI = {
    API_KEY: ("https://api.openai.com",),
    CHATGPT: ("https://chatgpt.com", "https://auth.openai.com"),
}
_NOT_KNOWN_YET = ("https://api.openai.com", "https://chatgpt.com", "https://auth.openai.com")

_CERTIFICATES = (
    "Install the system's root certificates (ca-certificates), or point SSL_CERT_FILE to a bundle "
    "that has the authority of your upstream or proxy."
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection goes: the upstream, or the proxy before it, with which nothing but TCP can be tried."""

    host: str
    port: int
    tls: bool
    shown: str


def addresses(upstream: Upstream, login_type: str | None) -> tuple[str, ...]:
    """Return what the child connects to; nothing for the demo upstream, a process of the gateway's."""
    if upstream.kind is UpstreamKind.CONFIGURED:
        return (upstream.base_url,)
    if upstream.kind is UpstreamKind.DEMO:
        return ()
    return _OPENAI.get(login_type or "", _NOT_KNOWN_YET)


def target(address: str, proxies: Mapping[str, str]) -> Target:
    """Return where a connection to the address goes; `proxies` maps a scheme to a proxy, as for this address."""
    parts = urlsplit(address)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy:
        way = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = way.port or (1080 if way.scheme.startswith("socks") else 80)
        return Target(way.hostname or "", port, tls=False, shown=f"{address}, through its proxy")
    tls = parts.scheme == "https"
    return Target(parts.hostname or "", parts.port or (443 if tls else 80), tls, address)


def reachable(targets: Sequence[Target], timeout_s: float = TIMEOUT_S) -> Result:
    """Connect to each, one after the other. Blocks, for the timeout each at most."""
    if not targets:
        return ok("The demo upstream is a process of the gateway's own.")
    for each in targets:
        problem = _connect(each, timeout_s)
        if problem is not None:
            sentence, remedy = problem
            return fail(f"{each.shown}: {sentence}.", remedy)
    return ok(f"Reached {', '.join(each.shown for each in targets)}.")


def _connect(to: Target, timeout_s: float) -> tuple[str, str] | None:
    """Return what went wrong and what to do, or None."""
    remedy = "Check the address, the firewall and HTTPS_PROXY of the service's environment; --offline leaves this out."
    try:
        with gevent.Timeout(timeout_s, TimeoutError(f"no answer within {timeout_s:g} seconds")):
            _shake(to)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted ({error.verify_message})", _CERTIFICATES
    except ssl.SSLError as error:
        return f"no TLS there ({error.reason})", remedy
    except socket.gaierror:
        return "the name has no address here", remedy
    except OSError as error:
        return error.strerror or str(error), remedy
    return None


def _shake(to: Target) -> None:
    with patient_socket.create_connection((to.host, to.port)) as sock:
        if to.tls:
            # gevent's create_default_context makes one of the standard library's, which would wait for ever.
            context = patient_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_default_certs()
            # The greeting is a step of its own: given up inside wrap_socket, it would leave the socket open.
            with context.wrap_socket(
                sock, server_hostname=to.host, do_handshake_on_connect=False
            ) as secure:
                secure.do_handshake()
