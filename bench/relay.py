"""Relay in front of the upstream: TLS, and a round trip of 30 ms. `python -m bench.relay URL CERTIFICATE`.

Bytes wait half a round trip in each direction, below TLS; a new connection is answered after a whole one, as its
handshake would be. So a new connection costs what it costs on a real network: three round trips with TLS 1.3 and the
request. The certificate is of a CA that the run makes for itself, which whoever speaks to the relay is told of in
SSL_CERT_FILE.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import socket, ssl
from gevent.queue import Queue
from gevent.server import StreamServer

from bench import jobs
from bench.processes import StartError, environment, first_line, module
from bench.sides import Place

ROUND_TRIP_S = 0.03
_READ_BYTES = 64 * 1024


@contextmanager
def in_front(place: Place) -> Iterator[Place]:
    """Run a relay; yield the place with its address in the upstream's stead, and the CA in the environment."""
    home = place.home("relay")
    authority, server = home / "ca.pem", home / "server.pem"
    try:
        import trustme  # noqa: PLC0415 - the plain benchmark runs without it
    except ImportError:
        raise StartError("--relay needs trustme: run it with `make bench`.") from None
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(authority))
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(server))
    with module(("bench.relay", place.upstream_url, str(server)), environment(home)) as process:
        url = first_line(process)["url"]
        yield replace(place, upstream_url=url, more={"SSL_CERT_FILE": str(authority)})


def _pass_on(source: Any, target: Any) -> None:
    """Pass bytes on until one side ends, then tell the other."""
    with suppress(OSError):
        while data := source.recv(_READ_BYTES):
            target.sendall(data)
    _end(target)


def _pass_on_late(source: Any, target: Any) -> None:
    """Do the same, with every byte half a round trip late."""
    waiting: Queue[tuple[float, bytes]] = Queue()

    def write() -> None:
        while True:
            due, data = waiting.get()
            gevent.sleep(max(0.0, due - time.monotonic()))
            if not data:
                break
            with suppress(OSError):
                target.sendall(data)
        _end(target)

    writer = gevent.spawn(write)
    with suppress(OSError):
        while data := source.recv(_READ_BYTES):
            waiting.put((time.monotonic() + ROUND_TRIP_S / 2, data))
    waiting.put((time.monotonic() + ROUND_TRIP_S / 2, b""))
    writer.join()


def _end(target: Any) -> None:
    with suppress(OSError):
        target.shutdown(
            socket.SHUT_WR if not isinstance(target, ssl.SSLSocket) else socket.SHUT_RDWR
        )


def _join(one: Any, other: Any, pump: Callable[[Any, Any], None]) -> None:
    for each in (one, other):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = gevent.spawn(pump, other, one)
    pump(one, other)
    back.join()
    for each in (one, other):
        each.close()


def main() -> None:
    """Serve until stdin ends; the first line says where."""
    url, certificate = sys.argv[1:]
    upstream = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def decrypt(sock: Any, _: object) -> None:
        _join(sock, socket.create_connection((upstream.hostname, upstream.port)), _pass_on)

    inner = StreamServer(("127.0.0.1", 0), decrypt, backlog=1024, ssl_context=context)
    inner.start()

    def delay(sock: Any, _: object) -> None:
        gevent.sleep(ROUND_TRIP_S)
        target = socket.create_connection(("127.0.0.1", inner.server_port))
        _join(sock, target, _pass_on_late)

    outer = StreamServer(("127.0.0.1", 0), delay, backlog=1024)
    outer.start()
    jobs.tell({"url": f"https://localhost:{outer.server_port}{upstream.path}"})
    socket.wait_read(sys.stdin.fileno())  # nothing is ever written to it


if __name__ == "__main__":
    main()
