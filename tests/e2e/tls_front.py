"""TLS in front of a plain server, with a certificate of a private CA, as upstreams within a company have it."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

CERTIFICATES = Path(__file__).with_name("certificates")
CA = CERTIFICATES / "ca.pem"
OF_CA = CERTIFICATES / "server.pem"
FOREIGN = CERTIFICATES / "foreign.pem"
"""Of no authority that anybody trusts."""
_BLOCK = 65536


class TlsFront:
    """Accepts TLS on a port of its own, for `localhost`, and passes every byte on to a plain port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.present(OF_CA)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def present(self, certificate: Path) -> None:
        """Show this certificate from the next connection on."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            outside = self._context.wrap_socket(sock, server_side=True)
        except OSError:  # the client does not trust us
            sock.close()
            return
        try:
            inside = socket.create_connection(("127.0.0.1", self._port))
        except OSError:  # the plain server has gone
            outside.close()
            return
        with outside, inside:
            back = threading.Thread(target=_pass_on, args=(inside, outside), daemon=True)
            back.start()
            _pass_on(outside, inside)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until one side ends, then end both."""
    with suppress(OSError):
        while block := source.recv(_BLOCK):
            target.sendall(block)
    for sock in (source, target):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
