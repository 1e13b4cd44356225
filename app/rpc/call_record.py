"""Record of one call, for observers of the channel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.rpc.messages import ErrorResponse, Response
from app.step_log import passed


@dataclass(slots=True)
class CallReport:
    """One call. Times are monotonic seconds, sizes are bytes of the whole line.

    `status` is `ok`, `refused` (the child answered with an error), or `failed` (no answer came).
    """

    method: str
    params: object
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    sent: int = 0
    received: int = 0
    status: str = "failed"
    result: Any = None

    def answered(self, answer: Response | ErrorResponse) -> None:
        """Note the child's answer."""
        self.received = answer.size
        if isinstance(answer, Response):
            self.status, self.result = "ok", answer.result
        else:
            self.status = "refused"


CallObserver = Callable[[CallReport], None]
LateResultHandler = Callable[[Any], None]
"""Takes a result that came after its deadline."""


def ignore_call(report: CallReport) -> None:
    """Observe nothing."""


def ignore_late_result(result: object) -> None:
    """Make nothing of a result that came after its deadline."""


@contextmanager
def record_call(observer: CallObserver, method: str, params: object) -> Iterator[CallReport]:
    """Give the report of a call to `observer` when the call is over, however it ended."""
    report = CallReport(method, params)
    try:
        yield report
    finally:
        report.ended = time.monotonic()
        passed(
            "rpc.call",
            method=method,
            outcome=report.status,
            sent_bytes=report.sent,
            received_bytes=report.received,
            took_ms=round((report.ended - report.started) * 1000, 3),
        )
        observer(report)
