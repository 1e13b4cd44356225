"""Login of the service with its upstream: whether there is one, which one a child has, whether it is any good."""

from __future__ import annotations

import time

from app.codex.auth_file import LoginMark, StoredLogin
from app.codex.config import UpstreamKind
from app.codex.home import FileMark, Home
from app.errors import UpstreamAuth

REFUSED_S = 60.0
"""How long a refusal is believed: then one request may find out whether it still holds."""

_TORN_S = 1.0
"""How long a file must stay torn before it is believed: codex empties it before it writes a new login."""

_NONE = (
    "This service is not logged in to OpenAI. Its operator has to run: "
    ".venv/bin/flask --app wsgi codex login. Your key is fine."
)
_USELESS = (
    "This service's login cannot be used. Its operator has to look at auth.json, or run: "
    ".venv/bin/flask --app wsgi codex login. Your key is fine."
)
_READ_ONLY = (
    "This service's login cannot be used: codex has to renew it, and auth.json cannot be written. "
    "Its operator has to mount it writable. Your key is fine."
)
_NOT_RENEWED = (
    "This service's login has expired or is about to, and OpenAI's accounts server has not renewed it; "
    "the gateway goes on trying. "
    "Your key is fine."
)
_SPENT = (
    "This service's login has expired or is about to, and OpenAI's accounts server refuses to renew it. "
    "Its operator has to run: .venv/bin/flask --app wsgi codex login. Your key is fine."
)
_NOT_TAKEN = "codex does not take it for a login."


class Login:
    """What is known of it. The file is looked at when it is asked about, and read where it has changed.

    Where the upstream needs no login, there is none, whatever the file says: the child does not read it either.
    `renews_anew`: each turn has a fresh child, which knows of no refusal and would try a renewal again.
    """

    def __init__(self, home: Home, upstream: UpstreamKind, *, renews_anew: bool = False) -> None:
        self._home = home
        self._renews_anew = renews_anew
        self.is_used = upstream is UpstreamKind.OPENAI
        self._read_at: FileMark | None = None
        self._stored = StoredLogin(problem="There is none.")
        self._can_keep = True
        self._torn_since: float | None = None
        self._refused: tuple[LoginMark | None, float] | None = None
        self._not_renewed: LoginMark | None = None
        self._is_spent = False

    @property
    def stored(self) -> StoredLogin:
        """The login in the file, good or not."""
        mark = self._home.login_file_mark
        if mark == self._read_at:
            return self._stored
        found = self._home.read_login()
        if found.is_torn and self._stored.is_usable:
            now = time.monotonic()
            self._torn_since = self._torn_since or now
            if now - self._torn_since < _TORN_S:
                return self._stored
        self._torn_since = None
        self._read_at, self._stored = mark, found
        self._can_keep = self._home.can_keep_login
        return found

    @property
    def mark(self) -> LoginMark | None:
        """What tells the present login from another; None without a good one, or where the upstream needs none."""
        return self.stored.mark if self.is_used and self.stored.is_usable else None

    @property
    def is_missing(self) -> bool:
        """True where the upstream needs a login and there is no good one."""
        return self.is_used and not self.stored.is_usable

    @property
    def is_read_only(self) -> bool:
        """True where codex would have to renew the login one day, and could not keep the new one."""
        if not self.is_used or self.stored.due_at is None:
            return False
        if not self._can_keep or self.is_due():
            self._can_keep = self._home.can_keep_login  # a mount changes without the file
        return not self._can_keep

    def is_due(self, ahead_s: float = 0.0) -> bool:
        """True if a child with this login may be renewing it now, or will within `ahead_s`."""
        return self.is_used and self.stored.is_due(time.time(), ahead_s)

    @property
    def lacks_renewal(self) -> bool:
        """True where a turn would be sent in vain, or would make codex try a renewal that fails, a dozen times."""
        now = time.time()
        if not self.is_used or not self.stored.is_due(now):
            return False
        if self.stored.is_expired(now):
            return self._not_renewed == self.mark or self._holds(self._refused)
        return self._not_renewed == self.mark and (self._renews_anew or not self._is_spent)

    @property
    def is_spent(self) -> bool:
        """True where the accounts server has refused to renew this very login for good."""
        return self._is_spent and self.mark is not None and self._not_renewed == self.mark

    @property
    def is_at_its_end(self) -> bool:
        """True where a child that starts would only ask once more for what was refused for good."""
        return self.is_spent and self.is_due()

    @property
    def is_lacking(self) -> bool:
        """True where a turn would fail for want of a good login, as far as is known."""
        return self.is_missing or self.is_read_only or self.is_refused or self.lacks_renewal

    def check(self) -> None:
        """Raise `UpstreamAuth` where it is missing or spent: codex would send the turn without a key, or in vain."""
        if self.is_missing:
            is_there = self._read_at is not None
            raise UpstreamAuth(_USELESS if is_there else _NONE)
        if self.is_read_only:
            raise UpstreamAuth(_READ_ONLY)
        if self.lacks_renewal:
            raise UpstreamAuth(_SPENT if self.is_spent else _NOT_RENEWED)

    def note_not_taken(self, mark: LoginMark) -> None:
        """Remember that codex found no login in the file as `mark` describes it: then it is none, whatever it holds."""
        if mark == self.mark:
            self._stored = StoredLogin(self._stored.kind, _NOT_TAKEN)

    def note_refused(self) -> None:
        """Remember that the upstream refused it, whatever kind of key it is."""
        self._refused = (self.mark, time.monotonic())

    def note_not_renewed(self, *, is_spent: bool = False) -> None:
        """Remember that a renewal has failed; `is_spent`: for good, so that codex does not try it again.

        A login that was spent stays so: a child that has just started tries once more all the same.
        """
        mark = self.mark
        self._is_spent = is_spent or (self._is_spent and mark == self._not_renewed)
        self._not_renewed = mark

    def note_accepted(self) -> None:
        """Forget an earlier refusal."""
        self._refused = None

    @property
    def is_refused(self) -> bool:
        """True from a refusal until there is another login, an answer, or a minute has passed."""
        return self._holds(self._refused)

    def _holds(self, noted: tuple[LoginMark | None, float] | None) -> bool:
        if noted is None:
            return False
        mark, at = noted
        return mark == self.mark and time.monotonic() - at < REFUSED_S
