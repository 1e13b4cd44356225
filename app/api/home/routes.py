"""`GET /` and the two files that it needs: a page for whoever opens the address in a browser.

Whoever does not ask for HTML is told, as ever, that the base URL ends in /v1. The page is a client like any other: it
knows nothing that its reader does not paste, keeps the key in memory alone, and runs no script but its own file.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import NotFound

from app.http.json_schema import STRING
from app.http.operation import Content, Operation, described
from app.http.services import services

blueprint = Blueprint("home", __name__, template_folder="templates")

_FOLDER = Path(__file__).parent
_FILES = {
    name: ((_FOLDER / name).read_bytes(), content_type)
    for name, content_type in (
        ("home.css", "text/css; charset=utf-8"),
        ("home.js", "text/javascript; charset=utf-8"),
    )
}

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of the page and its files. The policy blocks whatever a prompt, an answer or a name may bring along."""


@blueprint.get("/")
@described(Operation(answers={200: (Content(STRING, "", "text/html"),)}))
def home() -> Response:
    """Answer with the page. Which upstream answers is all that the server adds to it: a word of three.

    Raises `NotFound` for a client that is no browser, and has only lost its way.
    """
    if "text/html" not in request.accept_mimetypes.values():
        raise NotFound
    page = render_template("home.html", upstream=services().engine.backend.upstream)
    return Response(
        page, content_type="text/html; charset=utf-8", headers={**_HEADERS, "Vary": "Accept"}
    )


@blueprint.get("/home.css")
@described(Operation(answers={200: (Content(STRING, "", "text/css"),)}))
def style() -> Response:
    """Answer with the page's style."""
    return _file("home.css")


@blueprint.get("/home.js")
@described(Operation(answers={200: (Content(STRING, "", "text/javascript"),)}))
def script() -> Response:
    """Answer with the page's script."""
    return _file("home.js")


def _file(name: str) -> Response:
    content, content_type = _FILES[name]
    return Response(content, content_type=content_type, headers=_HEADERS)
