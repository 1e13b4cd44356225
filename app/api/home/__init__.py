"""Page at `/`: what answers here, a box to try it, and what to paste into a client."""

from app.api.home.routes import blueprint

__all__ = ["blueprint"]
