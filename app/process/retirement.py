"""Children that another one has replaced: each finishes what runs on it, and is then ended."""

from __future__ import annotations

import logging

import gevent
from gevent.event import Event
from gevent.pool import Group

from app.process.child import StopLadder
from app.process.living import ChildSession

log = logging.getLogger("codex_api.process")


class Retirement:
    """See the module. Once `stopping` is set, nothing is waited for any more."""

    def __init__(self, name: str, ladder: StopLadder, stopping: Event) -> None:
        self._name = name
        self._ladder = ladder
        self._stopping = stopping
        self._ending = Group()

    def __len__(self) -> int:
        return len(self._ending)

    def begin(self, old: ChildSession) -> None:
        """Let a child finish; does not block."""
        self._ending.spawn(self._end, old)

    def join(self) -> None:
        """Block until the last one is gone."""
        self._ending.join()

    def _end(self, old: ChildSession) -> None:
        finishing = gevent.spawn(old.attachment.retire)
        gevent.wait([finishing, self._stopping], count=1)  # type: ignore[type-var]  # both can be waited for
        finishing.kill()
        pid, code = old.child.pid, old.end(self._ladder)
        log.info("child_retired", extra={"child": self._name, "pid": pid, "exit_code": code})
