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
from scripted_upstream.events import ENCODED_NONCE, render_items
from scripted_upstream.exchange import Exchange
from scripted_upstream.failures import JSON_TYPE, error_body
from scripted_upstream.logical_input import Continuations, is_warm_up
from scripted_upstream.peer import Peer
from scripted_upstream.prompt_cache import PromptCache
from scripted_upstream.recorder import Record, Recorder
from scripted_upstream.refusals import Refusal, parse_request, refusal
from scripted_upstream.script import Response
from scripted_upstream.script_registry import ScriptRegistry
from scripted_upstream.simple_answer import demo_response, simple_items
from scripted_upstream.timeline import Act, Reply, plan
from scripted_upstream.websocket import MessagePeer, WebSocket

_CONTROL = "/control/"
_RESPONSES = "/v1/responses"
_DEMO_MODEL = "demo"
_SESSION = ("session-id", "session_id")  # codex's header, and how others spell it


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
    the marker of no script. With a `prompt_cache`, usage is what that says, where no script says another. A WebSocket's
    handshake is answered with the status `refuses_websockets`, if that is one.
    """

    def __init__(
        self,
        models: tuple[str, ...],
        *,
        has_control: bool,
        unscripted: Callable[[dict[str, Any]], Response] = demo_response,
        prompt_cache: PromptCache | None = None,
        refuses_websockets: int = 0,
    ) -> None:
        self.models = models
        self._refuses_websockets = refuses_websockets
        self._websockets: set[WebSocket] = set()
        self._prompt_cache = prompt_cache
        self._unscripted = unscripted
        self.recorder = Recorder(time.monotonic, keeps=has_control)
        self._scripts = ScriptRegistry()
        control = Control(self._scripts, self.recorder, self._hang_up)
        self._control = control if has_control else None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        is_upgrade = environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        if path == _RESPONSES and is_upgrade and not self._refuses_websockets:
            self._converse(environ["scripted_upstream.handler"])
            return ()
        # What comes on a connection that is to be upgraded has no length.
        body = b"" if is_upgrade else environ["wsgi.input"].read()
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
                outcome = exchange.perform(self._acts(method, path, record))
            finally:
                record.bytes_sent = handler.response_length = peer.bytes_sent
                handler.close_connection = handler.close_connection or not exchange.reusable
                recorder.finished(record, outcome)

    def _acts(self, method: str, path: str, record: Record) -> tuple[Act, ...]:
        routes: dict[tuple[str, str], Callable[[Record], tuple[Act, ...]]] = {
            ("POST", _RESPONSES): self._responses,
            ("GET", "/v1/models"): self._models,
        }
        if self._refuses_websockets:
            routes["GET", _RESPONSES] = self._refuse
        route = routes.get((method, path))
        if route is None:
            message = f"Invalid URL ({method} {path})"
            return (Reply(404, error_body(message), JSON_TYPE),)
        return route(record)

    def _refuse(self, _: Record) -> tuple[Act, ...]:
        return (Reply(self._refuses_websockets, error_body("No WebSocket."), JSON_TYPE),)

    def _hang_up(self) -> int:
        ended = list(self._websockets)
        for websocket in ended:
            websocket.hang_up()
        return len(ended)

    def _models(self, _: Record) -> tuple[Act, ...]:
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "demo"}
            for model in self.models or (_DEMO_MODEL,)
        ]
        return (Reply(200, orjson.dumps({"object": "list", "data": data}), JSON_TYPE),)

    def _responses(self, record: Record) -> tuple[Act, ...]:
        request = parse_request(record.body)
        if isinstance(request, Refusal):
            return (Reply(request.status, request.body, JSON_TYPE),)
        found = self._response_to(request, record)
        if isinstance(found, Reply):
            return (found,)
        return plan(found, request, self._stamp(request, record.headers))

    def _response_to(self, request: dict[str, Any], record: Record) -> Response | Reply:
        refused = refusal(request, self.models)
        if refused is not None:
            return Reply(refused.status, refused.body, JSON_TYPE)
        response = self._scripts.take(record.body) or self._unscripted(request)
        if response.from_request:
            response = replace(response, items=simple_items(request))
        return response

    def _stamp(self, request: dict[str, Any], headers: dict[str, str]) -> Stamp:
        charge = None
        if self._prompt_cache is not None and not is_warm_up(request):
            session = next((headers[name] for name in _SESSION if name in headers), "")
            charge = self._prompt_cache.charge(session, request, time.monotonic())
            self.recorder.charged(charge)
        return Stamp(os.urandom(16).hex(), int(time.time()), charge)

    def _converse(self, handler: Handler) -> None:
        """Serve one WebSocket: each message is a request, which may continue the answer to another."""
        key = handler.headers.get("Sec-WebSocket-Key", "")
        websocket = WebSocket(handler.socket, handler.rfile, key)
        continuations = Continuations()
        self._websockets.add(websocket)
        handler.close_connection = True
        handler.response_length = 1  # the handshake was the response
        try:
            while (sent := websocket.receive()) is not None:
                if not self._answer_message(handler, websocket, continuations, sent):
                    return
        finally:
            self._websockets.discard(websocket)
            websocket.close()

    def _answer_message(
        self, handler: Handler, websocket: WebSocket, continuations: Continuations, sent: bytes
    ) -> bool:
        """Answer one message; return whether the connection may serve another. The record holds the logical input."""
        request = continuations.whole(orjson.loads(sent))
        body = sent if request is None else orjson.dumps(request)
        headers = dict(handler.headers.items())
        recorder = self.recorder
        record = recorder.arrived("GET", _RESPONSES, headers, body, received=len(sent))
        outcome = "error"
        with MessagePeer(websocket, lambda: recorder.mark(record, "peer_closed")) as peer:
            exchange = Exchange(peer, record, recorder)
            try:
                outcome = exchange.perform(self._message_acts(request, record, continuations))
            finally:
                record.bytes_sent = peer.bytes_sent
                recorder.finished(record, outcome)
        return exchange.reusable

    def _message_acts(
        self, request: dict[str, Any] | None, record: Record, continuations: Continuations
    ) -> tuple[Act, ...]:
        if request is None:
            message = "Previous response not found."
            code = "previous_response_not_found"
            body = error_body(message, param="previous_response_id", code=code)
            return (Reply(400, body, JSON_TYPE),)
        found = Response() if is_warm_up(request) else self._response_to(request, record)
        if isinstance(found, Reply):
            return (found,)
        stamp = self._stamp(request, record.headers)
        output = orjson.loads(
            render_items(found).output.replace(ENCODED_NONCE, stamp.nonce.encode())
        )
        continuations.keep(f"resp_{stamp.nonce}", request, output)
        return plan(found, request, stamp)

    def _leave_the_count(self, handler: Handler) -> None:
        """A connection of a test, not of codex, is not counted."""
        if not handler.takes_control:
            handler.takes_control = True
            self.recorder.open_connections -= 1
