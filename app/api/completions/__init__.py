"""`POST /v1/completions`, the legacy form: a prompt instead of a conversation."""

from app.api.completions.routes import blueprint

__all__ = ["blueprint"]
