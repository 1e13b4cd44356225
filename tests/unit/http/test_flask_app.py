from typing import Any

import pytest
from flask import Blueprint, Flask, session, url_for
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from app.http.flask_app import GatewayFlask

OF_AN_ADAPTER = ("server_name", "script_name", "subdomain", "url_scheme", "path_info", "websocket")


def served_by(app: Flask) -> Flask:
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False

    things = Blueprint("things", __name__)

    @things.get("/v1/things/<name>")
    def thing(name: str) -> str:
        return url_for(".thing", name=name, _external=True)

    app.register_blueprint(things)
    return app


def environ(path: str = "/v1/things/a", **more: Any) -> dict[str, Any]:
    """As gunicorn makes it. A value of None takes away."""
    made = EnvironBuilder(path, query_string="a=%C3%A4&b=1").get_environ() | more
    return {name: value for name, value in made.items() if value is not None}


def answered(app: Flask, given: dict[str, Any]) -> tuple[Any, ...]:
    """What comes of a request: its route and how the adapter sees it, or why there is none."""
    with app.request_context(dict(given)) as context:
        request, adapter = context.request, context.url_adapter
        failed = request.routing_exception
        found = failed.code if isinstance(failed, HTTPException) else None
        if adapter is None:
            return found, request.host
        seen = [getattr(adapter, name) for name in OF_AN_ADAPTER]
        made = "" if found else url_for("things.thing", name="b", _external=True)
        route = request.view_args, request.endpoint, request.blueprint, request.blueprints
        return found, request.host, route, made, adapter.query_args, *seen


@pytest.mark.parametrize(
    "given",
    [
        environ(HTTP_HOST="Gateway.Example:8080"),
        environ(HTTP_HOST="gateway.example:443", **{"wsgi.url_scheme": "https"}),
        environ(HTTP_HOST="[::1]:8080"),
        environ(HTTP_HOST="a b"),
        environ(HTTP_HOST="a..b"),
        environ(HTTP_HOST=f"{'a' * 70}.example"),
        environ(HTTP_HOST="gateway.example:99999"),
        environ(HTTP_HOST=""),
        environ(HTTP_HOST=None),
        environ(HTTP_HOST=None, SERVER_NAME="unix:/run/gateway.sock", SERVER_PORT=""),
        environ(SCRIPT_NAME="/below"),
        environ(SCRIPT_NAME="/below/"),
        environ("/v1/things/\u00e4"),
        environ("//v1/things/a"),
        environ("/v1/nothing"),
        environ(PATH_INFO=""),
        environ(REQUEST_METHOD="HEAD"),
        environ(REQUEST_METHOD="POST"),
        environ(HTTP_CONNECTION="Upgrade", HTTP_UPGRADE="websocket"),
    ],
)
def test_a_request_is_seen_as_flask_sees_it(given: dict[str, Any]) -> None:
    plain = served_by(Flask("test", static_folder=None))
    assert answered(served_by(GatewayFlask("test")), given) == answered(plain, given)


def test_the_host_of_one_request_is_not_that_of_the_next() -> None:
    caller = served_by(GatewayFlask("test")).test_client()
    for host in ("a.example", "b.example", "a.example"):
        told = caller.get("/v1/things/x", headers={"Host": host}).text
        assert told == f"http://{host}/v1/things/x"


def test_there_is_one_session_that_cannot_be_written() -> None:
    app = GatewayFlask("test")
    seen: list[Any] = []
    for _ in range(2):
        with app.test_request_context():
            seen.append(request_ctx.session)
            with pytest.raises(RuntimeError, match="no secret key"):
                session["a"] = 1
    assert seen[0] is seen[1]
