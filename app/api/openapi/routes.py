"""Views of the OpenAPI document: as JSON, and as a page. Both are made once, and are the same for all who may see them.

Anybody may read what clients can call. What operators and scrapers call is shown to callers with a key, as the details
of health are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from flask import Blueprint, Response, current_app
from jinja2 import Template

from app.api.openapi.document import Facts, Route, document
from app.api.openapi.page import CONTENT_SECURITY_POLICY, shown
from app.http import long_work
from app.http.auth import Access, access_of
from app.http.json_schema import OBJECT, STRING
from app.http.operation import Content, Operation, answer, described
from app.http.request_context import current_record
from app.http.services import services

blueprint = Blueprint("openapi", __name__, template_folder="templates")

_PAGES = "openapi_pages"
_FOR_CLIENTS = (Access.KEY, Access.PUBLIC)
_AUTOMATIC = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class _Pages:
    json: bytes
    html: str


@blueprint.get("/openapi.json")
@described(Operation(answers=answer(OBJECT)))
def openapi_document() -> Response:
    """Describe every route, for programs (OpenAPI 3.1)."""
    return _shared(Response(_pages().json, content_type="application/json"))


@blueprint.get("/docs")
@described(Operation(answers={200: (Content(STRING, "", "text/html"),)}))
def docs() -> Response:
    """Describe every route, for people: one page, without scripts, that loads nothing."""
    response = _shared(Response(_pages().html, content_type="text/html; charset=utf-8"))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _shared(response: Response) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    response.vary.add("Authorization")
    return response


def _pages() -> _Pages:
    """Return what this caller may see; made at the first time, in a thread."""
    has_key = current_record().key_name is not None
    made: dict[bool, _Pages] = current_app.extensions.setdefault(_PAGES, {})
    if has_key not in made:
        routes = [route for route in _routes() if has_key or _is_for_clients(route)]
        template = current_app.jinja_env.get_template("api.html")
        made[has_key] = long_work.run_if(True, _make, routes, _facts(), template)
    return made[has_key]


def _is_for_clients(route: Route) -> bool:
    return route.access in _FOR_CLIENTS and not route.path.startswith("/internal")


def _make(routes: list[Route], facts: Facts, template: Template) -> _Pages:
    made = document(routes, facts)
    return _Pages(orjson.dumps(made), template.render(shown(made)))


def _routes() -> Iterator[Route]:
    for rule in current_app.url_map.iter_rules():
        view, access = current_app.view_functions[rule.endpoint], access_of(current_app, rule)
        for method in sorted((rule.methods or set()) - _AUTOMATIC):
            yield Route(rule.rule, method, rule.endpoint, view, access)


def _facts() -> Facts:
    here = services()
    return Facts(
        needs_model=not here.model_names.default,
        max_choices=here.options.max_choices,
        max_body_bytes=here.options.max_body_bytes,
    )
