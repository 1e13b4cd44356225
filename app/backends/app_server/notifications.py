"""What the child says by itself: about a turn, which is told, or about the account, which is noted.

Runs in the channel's reader, so nothing here may block.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from app.backends.app_server.parse_events import ProtocolError, ThreadId, parse_event
from app.backends.app_server.turn import Turn
from app.codex.account import UPDATED, AccountLimits
from app.errors import UpstreamError
from app.rpc.messages import Notification

log = logging.getLogger("codex_api.codex")


class Notifications:
    """See the module. `turn_of` finds the turn of a thread; oddities are counted in `counters`."""

    def __init__(
        self,
        turn_of: Callable[[ThreadId], Turn | None],
        counters: Counter[str],
        account: AccountLimits,
    ) -> None:
        self._turn_of = turn_of
        self._counters = counters
        self._account = account

    def hear(self, notification: Notification) -> None:
        """Take one notification of whatever kind; one that says nothing that we use is counted."""
        if notification.method == UPDATED:
            self._account.hear(notification.params)
            return
        try:
            addressed = parse_event(notification.method, notification.params)
        except ProtocolError as error:
            self._counters["protocol_error"] += 1
            log.warning("codex_protocol_error", extra={"field": error.field})
            if notification.method == "turn/completed":
                self._end_unread(notification)
            return
        if addressed is None:
            self._counters["ignored_notification"] += 1
            return
        turn = self._turn_of(addressed.thread_id)
        if turn is None:
            self._counters["orphan_event"] += 1
        else:
            turn.watch.notified(notification)
            turn.deliver(self._account.explain(addressed, time.time()))

    def _end_unread(self, notification: Notification) -> None:
        """An end that we cannot read is an end all the same: nothing more will come."""
        turn = self._turn_of(ThreadId(str(notification.params.get("threadId"))))
        if turn is not None:
            turn.ended.set()
            turn.fail(UpstreamError("The answer ended in a way that this gateway does not know."))
