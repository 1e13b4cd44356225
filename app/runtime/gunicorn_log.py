"""gunicorn's log without its access log, whose lines it would put together one by one for a level that drops them all.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

from gunicorn.glogging import Logger


class GunicornLog(Logger):
    """See the module."""

    @property
    def access_log_enabled(self) -> bool:
        """False: `request` in our own log is what an access log would say."""
        return False
