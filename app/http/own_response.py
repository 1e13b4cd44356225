"""Response with an answer of our own: JSON or a stream, whose headers are complete as they were set."""

from __future__ import annotations

from typing import Any

from flask import Response
from werkzeug.datastructures import Headers


class OwnResponse(Response):
    """A response with a body, whose length is set or unknown, and without a `Location`."""

    def get_wsgi_headers(self, environ: Any) -> Headers:
        """Return the headers. werkzeug would copy them, to complete a `Location` and a length."""
        return self.headers
