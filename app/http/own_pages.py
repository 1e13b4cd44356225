"""Own pages: the headers with which a page of the gateway, its style and its scripts are sent to a browser."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from flask import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The policy of contents blocks whatever a prompt, an answer or a name may bring along."""

HEADERS = MappingProxyType(
    {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
"""Of a page and its files."""

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class PageFiles:
    """The style and the scripts of a page, read once from its folder."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in folder.iterdir()
            if path.suffix in _TYPES
        }

    def __contains__(self, name: str) -> bool:
        """Return whether there is such a file."""
        return name in self._files

    def answer(self, name: str) -> Response:
        """Return the response with a file. Raises `KeyError` where there is none."""
        content, content_type = self._files[name]
        return Response(content, content_type=content_type, headers=HEADERS)
