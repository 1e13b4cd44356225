"""`GET /internal/console` and its files: a page that asks the operator for a key, and `/internal` for everything else.

The page is as empty as it is here until a key is pasted into it, so it needs none itself. It is a client like any other
of an operator: each of its figures comes out of a documented route.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import NotFound

from app.http.json_schema import STRING
from app.http.operation import Content, Operation, described
from app.http.own_pages import HEADERS, POLICY, PageFiles

blueprint = Blueprint(
    "console", __name__, url_prefix="/internal/console", template_folder="templates"
)

_FILES = PageFiles(Path(__file__).parent)
_POLICY = f"{POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"
"""Here no script can make markup or code of a text at all, where the browser knows how to forbid it."""


@blueprint.get("")
@described(Operation(answers={200: (Content(STRING, "", "text/html"),)}))
def console() -> Response:
    """Answer with the page, which holds no data."""
    folder = "" if request.path.endswith("/") else "console/"
    return Response(
        render_template("console.html", folder=folder),
        content_type="text/html; charset=utf-8",
        headers={**HEADERS, "Content-Security-Policy": _POLICY},
    )


@blueprint.get("/<name>")
@described(
    Operation(
        answers={
            200: (Content(STRING, "", "text/css"), Content(STRING, "", "text/javascript")),
        }
    )
)
def file(name: str) -> Response:
    """Answer with the page's style or one of its scripts."""
    if name not in _FILES:
        raise NotFound
    return _FILES.answer(name)
