"""What requests tell about the service's own login: refused by the upstream, or good for an answer."""

from __future__ import annotations

from app.codex.login import Login
from app.errors import UpstreamAuth
from app.observability.requests import RequestRecord


class LoginWatch:
    """A `Listener` of every request."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def stream_began(self, record: RequestRecord) -> None:
        """Do nothing: what matters is how it ends."""

    def request_ended(self, record: RequestRecord) -> None:
        """Note what the upstream said of the login, if the request got that far."""
        if record.error_code == UpstreamAuth.default_code:
            self._login.note_refused()
        elif record.finish_reason is not None:
            self._login.note_accepted()
