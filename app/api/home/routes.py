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
from app.http.own_pages import HEADERS, PageFiles
from app.http.services import services

blueprint = Blueprint("home", __name__, template_folder="templates")

_FILES = PageFiles(Path(__file__).parent)


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
        page, content_type="text/html; charset=utf-8", headers={**HEADERS, "Vary": "Accept"}
    )


@blueprint.get("/home.css")
@described(Operation(answers={200: (Content(STRING, "", "text/css"),)}))
def style() -> Response:
    """Answer with the page's style."""
    return _FILES.answer("home.css")


@blueprint.get("/home.js")
@described(Operation(answers={200: (Content(STRING, "", "text/javascript"),)}))
def script() -> Response:
    """Answer with the page's script."""
    return _FILES.answer("home.js")
