"""Request that is sent to a gateway again and again on kept connections, with little work of the client's own.

`codex parity` measures load with it: what a client does for a request takes a processor from the service, and is in
every figure. `requests` prepares the request once, so that it is the one that `GatewayClient` sends; `http.client`
carries it. Where there is a proxy, `GatewayClient` sends it, which knows the kinds of proxies.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.utils import select_proxy
from urllib3.util import wait_for_read

from app.cli.exit_codes import CheckFailed
from app.cli.gateway_client import GatewayClient, unchanged

_PIECE_BYTES = 1 << 16

Ask = Callable[[], bool]
"""Sends the request once; returns whether a whole answer with status 200 came. Blocks, raises nothing."""


class RepeatedRequest:
    """A POST of a JSON body to a gateway, ready to be sent by any number of clients."""

    def __init__(self, gateway: GatewayClient, path: str, body: Any) -> None:
        """Prepare the request, and take from the environment what `requests` would: a proxy, certificates."""
        self._gateway = gateway
        self._path = path
        self._body = body
        url = gateway.address + path
        authorization = f"Bearer {gateway.key}" if gateway.key else None
        with requests.Session() as session:
            session.trust_env = not gateway.direct
            headers = {"Authorization": authorization}
            request = requests.Request("POST", url, headers, json=body, auth=unchanged)
            self._sent = session.prepare_request(request)
            around = session.merge_environment_settings(url, {}, None, None, None)
        self._is_proxied = select_proxy(url, around["proxies"]) is not None
        is_tls = urlsplit(url).scheme == "https" and not self._is_proxied
        store = around["verify"] if isinstance(around["verify"], str) else certifi.where()
        self._context = _context(Path(store)) if is_tls else None

    def __repr__(self) -> str:
        return f"<RepeatedRequest {self._gateway.address}{self._path}>"

    @contextmanager
    def client(self) -> Iterator[Ask]:
        """Lend the call of one client, which has one connection as long as the server keeps it. For one thread."""
        if self._is_proxied:
            with self._gateway.keeping_connection() as client:
                yield lambda: _is_answered(client, self._path, self._body)
            return
        connection = self._connection()
        try:
            yield lambda: self._ask(connection)
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        parts = urlsplit(self._sent.url or "")
        host, timeout_s = parts.hostname or "", self._gateway.timeout_s
        if self._context is not None:
            return HTTPSConnection(host, parts.port, timeout=timeout_s, context=self._context)
        return HTTPConnection(host, parts.port, timeout=timeout_s)

    def _ask(self, connection: HTTPConnection) -> bool:
        deadline = time.monotonic() + self._gateway.timeout_s
        # A server may have closed it between two requests; `requests` looks, too.
        if connection.sock is not None and wait_for_read(connection.sock, timeout=0):
            connection.close()
        try:
            return self._exchange(connection, deadline)
        except (OSError, HTTPException):
            connection.close()  # the next request opens it anew
            return False

    def _exchange(self, connection: HTTPConnection, deadline: float) -> bool:
        """Send, and read to the end; the connection itself bounds only the silence between two pieces."""
        sent = self._sent
        connection.request("POST", sent.path_url, sent.body, sent.headers)
        response = connection.getresponse()
        while response.read1(_PIECE_BYTES):
            if time.monotonic() > deadline:
                raise TimeoutError
        if response.length:
            raise IncompleteRead(b"", response.length)
        response.close()  # which `read1` does not; the connection stays open
        return response.status == HTTPStatus.OK


def _context(store: Path) -> ssl.SSLContext:
    """Return what a TLS connection trusts: a file or a folder of certificates."""
    context = (
        ssl.create_default_context(capath=store)
        if store.is_dir()
        else ssl.create_default_context(cafile=store)
    )
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_answered(client: GatewayClient, path: str, body: Any) -> bool:
    try:
        return client.send(path, body).status == HTTPStatus.OK
    except CheckFailed:
        return False
