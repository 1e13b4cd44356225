"""`POST /v1/chat/completions`."""

from app.api.chat_completions.routes import blueprint

__all__ = ["blueprint"]
