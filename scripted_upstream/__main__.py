"""Command line of the upstream: `python -m scripted_upstream` prints its address as one JSON line and serves.

Nothing is monkey-patched: every blocking call here is gevent's own.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import gevent
import orjson
from gevent import socket

from scripted_upstream.prompt_cache import PromptCache
from scripted_upstream.server import Server, Upstream
from scripted_upstream.simple_answer import demo_response

_BACKLOG = 1024


def main(argv: list[str], make_server: Callable[[Any, Upstream], Server] = Server) -> None:
    """Serve until SIGTERM, SIGINT or, if asked for, the end of stdin."""
    options = _parse(argv)
    upstream = Upstream(
        tuple(options.model),
        has_control=options.control,
        unscripted=options.unscripted,
        prompt_cache=PromptCache(options.prompt_cache) if options.prompt_cache else None,
        refuses_websockets=options.refuse_websockets,
    )
    server = make_server(_listener(options), upstream)
    server.start()
    gevent.signal_handler(signal.SIGTERM, server.stop, timeout=0)
    gevent.signal_handler(signal.SIGINT, server.stop, timeout=0)
    if options.until_stdin_closes:
        gevent.spawn(_await_end_of_stdin).link(lambda _: server.stop(timeout=0))
    address = orjson.dumps({"url": f"http://127.0.0.1:{server.server_port}/v1"})
    sys.stdout.write(address.decode() + "\n")
    sys.stdout.flush()
    server.serve_forever()


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripted_upstream",
        description="A scripted stand-in for OpenAI's Responses API.",
    )
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--port", type=int, help="listen on this port of 127.0.0.1; 0: any")
    place.add_argument("--fd", type=int, help="accept on this inherited, listening socket")
    parser.add_argument("--control", action="store_true", help="open /control, for tests")
    parser.add_argument(
        "--model", action="append", default=[], metavar="SLUG", help="a known model; none: any"
    )
    parser.add_argument(
        "--unscripted",
        type=resolve_name,
        default=demo_response,
        metavar="MODULE:FUNCTION",
        help="what answers a request that no script answers: a function from the request to a Response",
    )
    parser.add_argument(
        "--prompt-cache",
        type=float,
        metavar="SECONDS",
        help="report cached tokens as OpenAI does, of prefixes that were used within so many seconds",
    )
    parser.add_argument(
        "--refuse-websockets",
        type=int,
        default=0,
        metavar="STATUS",
        help="answer the handshake of a WebSocket with this status; 0: accept it",
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="exit when stdin reaches its end"
    )
    return parser.parse_args(argv)


def _listener(options: argparse.Namespace) -> Any:
    if options.fd is not None:
        inherited = socket.socket(fileno=options.fd)
        inherited.setblocking(False)
        return inherited
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _await_end_of_stdin() -> None:
    stdin = sys.stdin.fileno()
    while True:
        socket.wait_read(stdin)
        if not os.read(stdin, 4096):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
