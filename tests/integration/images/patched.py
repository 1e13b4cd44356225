"""A program: the image fetcher as a worker runs it, patched by gevent. Prints what happened as JSON."""

# ruff: noqa: E402

from __future__ import annotations

import ssl  # before the patch, as gunicorn does

from gevent import monkey

monkey.patch_all()

import json
import logging
import sys
from contextlib import suppress
from typing import Any

import gevent
from gevent.monkey import get_original
from gevent.server import StreamServer

from app.errors import InvalidRequest
from app.images.download import Limits
from app.images.fetcher import ImageFetcher
from tests.fakes.waiting import eventually
from tests.integration.images.sites import CERTIFICATE, answer, trusting

native_sleep = get_original("time", "sleep")
report: dict[str, Any] = {"beats": 0}
said: list[str] = []


class Notes(logging.Handler):
    """Keeps what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        said.append(f"{record.getMessage()} {vars(record)['reason']}")


def serve(handle: Any, **options: Any) -> StreamServer:
    server = StreamServer(("127.0.0.1", 0), handle, **options)
    server.start()
    return server


def items(server: StreamServer, paths: int = 1, scheme: str = "http") -> list[dict[str, Any]]:
    urls = [f"{scheme}://images.test:{server.server_port}/{path}" for path in range(paths)]
    parts = [{"type": "input_image", "image_url": url} for url in urls]
    return [{"type": "message", "role": "user", "content": parts}]


def try_(given: list[dict[str, Any]], **options: Any) -> list[str]:
    """Return the kinds of the images, or what was logged and said."""
    said.clear()
    options.setdefault("resolver", lambda *_: ["127.0.0.1"])
    options.setdefault("limits", Limits(connect_s=9, read_s=9, total_s=0.4))
    try:
        (item,) = ImageFetcher(lambda *_: True, **options).inline(given, "key", {}, "messages")
    except InvalidRequest as error:
        return [*said, error.message.replace("'messages'", "'messages[0]'")]
    return [part["image_url"].partition(",")[0] for part in item["content"]]


def drip_headers(client: Any, _: Any) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    with suppress(OSError):  # the other side hangs up
        while True:
            client.sendall(b"y")
            gevent.sleep(0.01)


def answer_with_tls(client: Any, _: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with suppress(OSError), context.wrap_socket(client, server_side=True) as wrapped:
        wrapped.recv(4096)
        wrapped.sendall(answer())


def never(*_: Any) -> None:
    gevent.sleep(60)


def slow_resolver(*_: Any) -> list[str]:
    native_sleep(1)  # a name server that is silent for long enough
    return []


class Crowd:
    """Counts who is here at once."""

    def __init__(self, stay_s: float) -> None:
        self.here = self.peak = 0
        self._stay_s = stay_s

    def __call__(self, client: Any, _: Any) -> None:
        self.here += 1
        self.peak = max(self.peak, self.here)
        try:
            client.recv(4096)
            if gevent.with_timeout(self._stay_s, client.recv, 1, timeout_value=None) == b"":
                return
            client.sendall(answer())
        finally:
            self.here -= 1


def beat() -> None:
    while True:
        report["beats"] += 1
        gevent.sleep(0.01)


def main() -> None:
    logging.getLogger("codex_api.images").addHandler(Notes())
    logging.getLogger("codex_api.images").setLevel("INFO")
    gevent.spawn(beat)
    patient = Limits(total_s=20)
    report["drips_headers"] = try_(items(serve(drip_headers)))
    report["slow_resolver"] = try_(items(serve(never)), resolver=slow_resolver)
    report["never_accepts_tls"] = try_(items(serve(never), scheme="https"))

    secure = serve(answer_with_tls)
    report["tls"] = try_(items(secure, scheme="https"), tls=trusting(), limits=patient)
    report["tls_untrusted"] = try_(items(secure, scheme="https"), limits=patient)

    crowd = Crowd(0.1)
    report["fetched"] = len(try_(items(serve(crowd), 10), limits=patient))
    report["peak"] = crowd.peak

    long = Crowd(60)
    caller = gevent.spawn(try_, items(serve(long), 10), limits=patient)
    eventually(lambda: long.here == 4)
    caller.kill()
    eventually(lambda: long.here == 0)
    report["open_after_kill"] = long.here
    sys.stdout.write(json.dumps(report))


main()
