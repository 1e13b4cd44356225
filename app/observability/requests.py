"""The canonical line: one for each request, written when its last byte is gone, so also at the end of a stream."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

log = logging.getLogger("codex_api.http")


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request so far. Filled in by whoever learns it; `write` ends it."""

    request_id: str
    method: str
    route: str = "unmatched"
    key_name: str | None = None
    status: int = 0
    outcome: str = "completed"
    error_code: str | None = None
    model: str | None = None
    stream: bool | None = None
    finish_reason: str | None = None
    thread_id: str | None = None
    generation: int | None = None
    ttft_ms: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ignored_parameters: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)
    is_written: bool = False

    def write(self) -> None:
        """Log the line; a second call does nothing."""
        if self.is_written:
            return
        self.is_written = True
        fields = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in {"started", "is_written"} and getattr(self, name) not in (None, ())
        }
        duration_ms = round((time.monotonic() - self.started) * 1000, 1)
        log.info("request", extra={**fields, "duration_ms": duration_ms})
