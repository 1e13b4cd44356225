"""Calls over a channel: what is asked, who is told of it, and the report of what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.rpc.messages import ErrorResponse, Response


@dataclass(slots=True)
class CallReport:
    """One call. Times are monotonic seconds, sizes are bytes of the whole line.

    `status` is `ok`, `refused` (the child answered with an error), or `failed` (no answer came, or nobody waited).
    """

    method: str
    params: object
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    sent: int = 0
    received: int = 0
    status: str = "failed"

    def answered(self, answer: Response | ErrorResponse) -> None:
        """Note the child's answer, of which the caller learns now."""
        self.ended = time.monotonic()
        self.received = answer.size
        self.status = "ok" if isinstance(answer, Response) else "refused"

    def include(self, part: CallReport) -> None:
        """Add another report, of a part of this call."""
        self.ended, self.status = part.ended, part.status
        self.sent += part.sent
        self.received += part.received


CallObserver = Callable[[CallReport], None]
LateResultHandler = Callable[[Any], None]
"""Takes a result for which nobody waits: the deadline was over, or the call before it was refused."""


def ignore_call(report: CallReport) -> None:
    """Observe nothing."""


def ignore_late_result(result: object) -> None:
    """Make nothing of a result that came after its deadline."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to be made. `observer` is told what became of it, `on_late` is given a result that nobody waits for.

    Neither may block.
    """

    method: str
    params: object
    observer: CallObserver = ignore_call
    on_late: LateResultHandler = ignore_late_result
