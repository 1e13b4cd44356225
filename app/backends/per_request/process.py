"""Process of one turn: a codex, from its start to its certain end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import gevent
from gevent.event import Event

from app.backends.app_server.renewal import Renewal
from app.backends.per_request.dialect import Connection
from app.codex.login import Login
from app.process.child import Child, ChildSpec, StopLadder

LADDER = StopLadder(eof_s=2.0, term_s=1.0, kill_s=2.0)
"""An idle codex exits within 20 ms of EOF."""

_POLL_S = 0.1


@dataclass(slots=True, eq=False)
class Process:
    """One process. `spec` is what it was started from, without what is its own; `login` is the service's."""

    spec: ChildSpec
    folder: Path
    child: Child
    connection: Connection
    renewal: Renewal
    login: Login

    @property
    def may_renew(self) -> bool:
        """True while its end could destroy the login (see `app.backends.app_server.renewal`)."""
        connection = self.connection
        is_in_turn = connection.has_turn and self.login.is_due()
        return connection.is_renewing or self.renewal.is_starting or is_in_turn

    @property
    def is_usable(self) -> bool:
        """True if a turn can be begun on it: it lives, and has the present login, which it need not renew."""
        if self.child.exit_code is not None or self.connection.is_closed:
            return False
        if not self.login.is_used:
            return True
        # What is due is renewed in the handshake of a fresh one, under the lock: two at once would spend it.
        has_present = self.connection.login is not None and self.connection.login == self.login.mark
        return has_present and not self.login.is_due()

    @property
    def counters(self) -> Counter[str]:
        """What was odd but survived."""
        return self.connection.oddities

    def end(self, stopping: Event) -> int | None:
        """End it once nothing runs on it, and it renews no login; at once where `stopping` is set. Blocks.

        Returns its exit code, once it is gone.
        """
        finishing = gevent.spawn(self.connection.retire)
        gevent.wait([finishing, stopping], count=1)  # type: ignore[type-var]  # both can be waited for
        finishing.kill()
        while self.may_renew and self.child.exit_code is None and not stopping.is_set():
            stopping.wait(_POLL_S)
        code = self.child.end(LADDER, self.connection.detach)
        self.renewal.end_start(is_done=False)
        return code
