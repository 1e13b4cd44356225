"""Endpoint `/internal/maintenance`: closes the API for a while, and opens it again."""

from app.api.internal.maintenance.routes import blueprint

__all__ = ["blueprint"]
