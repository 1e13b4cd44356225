"""Endpoint `/internal/console`: a page on which an operator sees and steers the gateway."""

from app.api.internal.console.routes import blueprint

__all__ = ["blueprint"]
