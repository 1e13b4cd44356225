"""`POST /v1/responses`, and what was answered there."""

from app.api.responses.routes import blueprint

__all__ = ["blueprint"]
