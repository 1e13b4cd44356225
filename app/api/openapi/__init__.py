"""`GET /openapi.json` and `GET /docs`: what this gateway serves, for programs and for people."""

from app.api.openapi.routes import blueprint

__all__ = ["blueprint"]
