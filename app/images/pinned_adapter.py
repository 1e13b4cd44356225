"""Adapter for `requests` that connects to one address and nowhere else; TLS and Host keep the name of the URL.

No session is involved, so nothing comes from the environment (proxies, netrc), nothing is remembered (cookies) and
nothing is followed (redirects).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from requests import PreparedRequest, Request, Response
from requests.adapters import HTTPAdapter

from app.images.ssrf_guard import Address, Location

_HEADERS = {
    "User-Agent": "codex-completions-api (image download)",
    "Accept": "image/png, image/jpeg, image/gif, image/webp",
    # No bombs: a compressed answer would be larger than what was counted.
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class PinnedAdapter(HTTPAdapter):
    """Sends to one address, whatever the request's URL says; TLS asks for and checks the URL's name."""

    def __init__(self, location: Location, address: Address, tls: ssl.SSLContext) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._location, self._address, self._tls = location, address, tls

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Return where the pool connects to and how it does TLS. The hook that requests has for this."""
        at = self._location
        host = {"scheme": at.scheme, "host": str(self._address), "port": at.port}
        if at.scheme == "http":
            return host, {}
        tls = {
            "ssl_context": self._tls,
            "server_hostname": at.host,
            "cert_reqs": "CERT_REQUIRED",
        }
        return host, tls

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the context has its certificates, and loading them for every connection takes 20 ms."""


@contextmanager
def get(
    location: Location, address: Address, tls: ssl.SSLContext, timeout_s: tuple[float, float]
) -> Iterator[Response]:
    """GET from `address`; the response's body is not read yet. Blocks; `timeout_s` is to connect and between reads.

    Raises `requests.RequestException`, and what urllib3 and the socket raise. Closes the connection at the end.
    """
    headers = {**_HEADERS, "Host": location.authority}
    adapter = PinnedAdapter(location, address, tls)
    try:
        request = Request("GET", location.url, headers=headers).prepare()
        response = adapter.send(request, stream=True, timeout=timeout_s)
        try:
            yield response
        finally:
            response.close()
    finally:
        adapter.close()
