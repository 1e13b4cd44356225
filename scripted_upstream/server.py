"""HTTP server of the upstream: gevent's WSGI server, and the routes.

Answers below `/v1` are written to the raw socket, because a script may want to cut, reset or hang
the connection; the control endpoints answer in the ordinary WSGI way.
"""

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
from gevent.pywsgi import WSGIHandler, WSGIServer

from scripted_upstream.control import Control
from scripted_upstream.envelope import Stamp
from scripted_upstream.exchange import Exchange
from scripted_upstream.failures import JSON_TYPE, error_body
from scripted_upstream.peer import Peer
from scripted_upstream.recorder import Recorder
from scripted_upstream.refusals import Refusal, parse_request, refusal
from scripted_upstream.script import Response
from scripted_upstream.script_registry import ScriptRegistry
from scripted_upstream.simple_answer import demo_response, simple_items
from scripted_upstream.timeline import Act, Reply, plan

_CONTROL = "/control/"
_DEMO_MODEL = "demo"


class Handler(WSGIHandler):
    """Lets the application have the connection, and counts instead of logging."""

    takes_control = False

    def __init__(self, sock: Any, address: Any, server: "Server") -> None:
        super().__init__(sock, address, server)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.recorder = server.recorder

    def get_environ(self) -> dict[str, Any]:
        """Add this handler to the environment."""
        environ: dict[str, Any] = super().get_environ()
        environ["scripted_upstream.handler"] = self
        return environ

    def log_request(self) -> None:
        """Write no access log: stdout carries one line, the address."""

    def handle_error(self, kind: Any, value: Any, tb: Any) -> None:
        """Count an error of ours, then let gevent print it and answer 500."""
        self.recorder.failed("".join(traceback.format_exception_only(kind, value)).strip())
        super().handle_error(kind, value, tb)


class Server(WSGIServer):
    """Serves an Upstream on a listening socket, and counts the connections that use `/v1`."""

    def __init__(self, listener: Any, upstream: "Upstream") -> None:
        super().__init__(listener, upstream, log=None, handler_class=Handler)
        self.recorder = upstream.recorder

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection until it is closed."""
        handler = Handler(sock, address, self)
        self.recorder.open_connections += 1
        try:
            handler.handle()
        finally:
            if not handler.takes_control:
                self.recorder.open_connections -= 1


class Upstream:
    """The WSGI application.

    `models` are the known ones; none given means that any is served. `unscripted` answers a valid request that holds
    the marker of no script.
    """

    def __init__(
        self,
        models: tuple[str, ...],
        *,
        has_control: bool,
        unscripted: Callable[[dict[str, Any]], Response] = demo_response,
    ) -> None:
        self.models = models
        self._unscripted = unscripted
        self.recorder = Recorder(time.monotonic, keeps=has_control)
        self._scripts = ScriptRegistry()
        self._control = Control(self._scripts, self.recorder) if has_control else None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read()
        if self._control is not None and path.startswith(_CONTROL):
            self._leave_the_count(environ["scripted_upstream.handler"])
            query = dict(parse_qsl(environ["QUERY_STRING"]))
            method = environ["REQUEST_METHOD"]
            status, answer = self._control.answer(method, path[len(_CONTROL) :], query, body)
            start_response(f"{status} Control", [("Content-Type", JSON_TYPE)])
            return [orjson.dumps(answer)]
        self._serve(environ, body)
        return ()

    def _serve(self, environ: dict[str, Any], body: bytes) -> None:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        handler = environ["scripted_upstream.handler"]
        recorder = self.recorder
        record = recorder.arrived(method, path, dict(handler.headers.items()), body)
        outcome = "error"
        with Peer(handler.socket, lambda: recorder.mark(record, "peer_closed")) as peer:
            exchange = Exchange(peer, record, recorder)
            try:
                outcome = exchange.perform(self._acts(method, path, body))
            finally:
                record.bytes_sent = handler.response_length = peer.bytes_sent
                handler.close_connection = handler.close_connection or not exchange.reusable
                recorder.finished(record, outcome)

    def _acts(self, method: str, path: str, body: bytes) -> tuple[Act, ...]:
        routes: dict[tuple[str, str], Callable[[bytes], tuple[Act, ...]]] = {
            ("POST", "/v1/responses"): self._responses,
            ("GET", "/v1/models"): self._models,
        }
        route = routes.get((method, path))
        if route is None:
            message = f"Invalid URL ({method} {path})"
            return (Reply(404, error_body(message), JSON_TYPE),)
        return route(body)

    def _models(self, _: bytes) -> tuple[Act, ...]:
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "demo"}
            for model in self.models or (_DEMO_MODEL,)
        ]
        return (Reply(200, orjson.dumps({"object": "list", "data": data}), JSON_TYPE),)

    def _responses(self, body: bytes) -> tuple[Act, ...]:
        request = parse_request(body)
        if isinstance(request, Refusal):
            return (Reply(request.status, request.body, JSON_TYPE),)
        refused = refusal(request, self.models)
        if refused is not None:
            return (Reply(refused.status, refused.body, JSON_TYPE),)
        response = self._scripts.take(body) or self._unscripted(request)
        if response.from_request:
            response = replace(response, items=simple_items(request))
        return plan(response, request, Stamp(os.urandom(16).hex(), int(time.time())))

    def _leave_the_count(self, handler: Handler) -> None:
        """A connection of a test, not of codex, is not counted."""
        if not handler.takes_control:
            handler.takes_control = True
            self.recorder.open_connections -= 1
