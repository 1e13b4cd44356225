"""Flask application class of the gateway: Flask without the work for each request that this application does not need.

A gateway has no sessions, no coroutines, and one set of routes for every host. Whatever Flask asks about them at each
request is answered here at once; all else is Flask's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import Map, MapAdapter
from werkzeug.sansio.utils import get_host


class _Request(Request):
    """A request that keeps what its blueprint is, once there is a route: Flask and our hooks ask seven times."""

    @cached_property
    def blueprint(self) -> str | None:
        return super().blueprint


class GatewayFlask(Flask):
    """See the module."""

    request_class = _Request

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self.session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function. Flask would look for a coroutine, ten times a request; gevent's views are none."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what finds a request's route, and makes URLs of it.

        It knows the host as Flask has it, but no `SERVER_NAME`, subdomain or list of hosts: routes are matched by path.
        Raises werkzeug's `BadHost`.
        """
        if request is None:
            return None  # of the application alone, without a host
        environ = request.environ
        # What only werkzeug tells apart: an upgrade, which has rules of its own, and a target that is no path.
        if "HTTP_UPGRADE" in environ or not environ.get("PATH_INFO"):
            return super().create_url_adapter(request)
        return MapAdapter(
            self.url_map,
            _server_name(request.scheme, environ.get("HTTP_HOST"), request.server),
            request.root_path,
            "",
            request.scheme,
            request.path,
            request.method,
            request.query_string.decode(errors="replace"),
        )


@lru_cache(maxsize=64)
def _server_name(scheme: str, host: str | None, server: tuple[str, int | None] | None) -> str:
    """Return a host as werkzeug writes it. The same few come again and again, and it encodes each in two ways."""
    return Map().bind(get_host(scheme, host, server)).server_name


class _NoSessions(SessionInterface):
    """Gives every request the same session, which holds nothing and cannot be written."""

    def __init__(self) -> None:
        self._session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._session
