"""Web servers on the loopback device, as real and as rude as a test wants them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from tests.fakes import pictures

CERTIFICATE = Path(__file__).with_name("images_test.pem")
"""For images.test, valid until 2120."""

PNG = pictures.png(4, 4) + bytes(range(256)) * 4

Play: TypeAlias = Callable[["Visit"], None]


class Visit(BaseHTTPRequestHandler):
    """One connection; what it answers is looked up by path."""

    server: Site

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers))
        try:
            self.server.plays[self.path](self)
        except OSError:
            self.server.dropped.set()
        self.close_connection = True

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class Site(ThreadingHTTPServer):
    """See the module. `seen` has path and headers of every request, `names` what TLS asked for."""

    daemon_threads = True

    def __init__(self, address: str, plays: dict[str, Play], *, tls: bool) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), Visit)
        self.plays = plays
        self.seen: list[tuple[str, Message]] = []
        self.names: list[str | None] = []
        self.dropped = threading.Event()
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            context.sni_callback = self._note_name
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def _note_name(self, _socket: Any, name: str | None, _context: ssl.SSLContext) -> None:
        self.names.append(name)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what several tests are about."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def site(
    plays: dict[str, Play] | None = None, *, address: str = "127.0.0.1", tls: bool = False
) -> Iterator[Site]:
    """Serve in a thread of its own, as the tests are not patched."""
    server = Site(address, plays or {}, tls=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def trusting() -> ssl.SSLContext:
    """Return a context that trusts `CERTIFICATE` and nothing else."""
    return ssl.create_default_context(cafile=CERTIFICATE)


def answer(body: bytes = PNG, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole response, with a length."""
    length = b"Content-Length: %d" % len(body)
    lines = [b"HTTP/1.1 " + status, b"Content-Type: image/png", length, *headers, b"", body]
    return b"\r\n".join(lines)


def plain(visit: Visit) -> None:
    visit.send(answer())


def redirect(target: str) -> Play:
    location = b"Location: " + target.encode()
    return lambda visit: visit.send(
        answer(b"", location, b"Set-Cookie: a=b; Path=/", status=b"302 Found")
    )


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
