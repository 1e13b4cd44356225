"""Login of the service with its upstream: whether there is one, which one a child has, whether it is any good."""

from __future__ import annotations

import time

from app.codex.config import UpstreamKind
from app.codex.home import Home, LoginMark
from app.errors import UpstreamAuth

REFUSED_S = 60.0
"""How long a refusal is believed: then one request may find out whether it still holds."""


class Login:
    """What is known of it. The file is looked at when it is asked about; nothing here blocks for longer."""

    def __init__(self, home: Home, upstream: UpstreamKind) -> None:
        self._home = home
        self._is_used = upstream is UpstreamKind.OPENAI
        self._refused: tuple[LoginMark | None, float] | None = None

    @property
    def mark(self) -> LoginMark | None:
        """What tells the present login from another; None without one, or where the upstream needs none."""
        return self._home.login_mark if self._is_used else None

    @property
    def is_missing(self) -> bool:
        """True where the upstream needs a login and there is none."""
        return self._is_used and self.mark is None

    def check(self) -> None:
        """Raise `UpstreamAuth` where it is missing: codex itself would send the turn without a key."""
        if self.is_missing:
            raise UpstreamAuth(
                "This service is not logged in to OpenAI. Its operator has to run: "
                "flask --app wsgi codex login. Your key is fine."
            )

    def note_refused(self) -> None:
        """Remember that the upstream refused it, whatever kind of key it is."""
        self._refused = (self.mark, time.monotonic())

    def note_accepted(self) -> None:
        """Forget an earlier refusal."""
        self._refused = None

    @property
    def is_refused(self) -> bool:
        """True from a refusal until there is another login, an answer, or a minute has passed."""
        if self._refused is None:
            return False
        mark, at = self._refused
        return mark == self.mark and time.monotonic() - at < REFUSED_S
