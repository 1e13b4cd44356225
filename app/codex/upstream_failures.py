"""Failures to reach the upstream: codex's words about them, and the cause, which codex does not tell.

codex says `error sending request` for a refused connection, an unknown name and an untrusted certificate alike. So
the gateway tries the address by itself, on the same way, and tells what it met.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import gevent

from app.backend.events import Event, Retrying, TurnEnded
from app.backend.health import UpstreamFailure
from app.codex.config import Upstream, UpstreamKind
from app.codex.upstream_http import Unreachable, UpstreamHttp
from app.log_limiter import LogRateLimiter
from app.scrub import one_line

log = logging.getLogger("codex_api.codex")

_TIMEOUT_S = 5.0
_BELIEVED_S = 5.0
"""How long a diagnosis is believed: many turns can fail at once."""

_NOT_SENT = re.compile(
    r"^(?:stream disconnected before completion: )?(?:error sending request|Connection failed)"
)
_PASSING = "nothing: its address answers this gateway"

API = "https://api.openai.com"
CHATGPT_SITES = ("https://chatgpt.com", "https://auth.openai.com")


def unreachable_words(event: Event) -> str:
    """Return what codex says of an upstream that it could not reach; empty for any other event.

    Only a sentence of codex's own: that of an upstream could quote a prompt.
    """
    said = ""
    if isinstance(event, Retrying):
        details, message = event.failure.details, event.failure.message
        said = details if _NOT_SENT.search(details) else message or "it waits for the network"
    elif isinstance(event, TurnEnded) and event.failure and event.failure.http_status is None:
        said = event.failure.message if _NOT_SENT.search(event.failure.message) else ""
    return one_line(said, 200) if said else ""  # nearly every event is another one


def targets_of(upstream: Upstream) -> tuple[str, ...]:
    """Return the addresses that tell whether the upstream can be reached."""
    return (upstream.base_url,) if upstream.base_url else (CHATGPT_SITES[0], API)


class UpstreamFailures:
    """The last failure, and the greenlet that looks for its cause. Nothing here blocks its caller."""

    def __init__(
        self,
        upstream: Upstream,
        http: UpstreamHttp,
        on_unreached: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_unreached` is called, in a greenlet of its own, after each look; it may block."""
        self.last: UpstreamFailure | None = None
        self._targets = targets_of(upstream) if upstream.kind is not UpstreamKind.DEMO else ()
        self._http = http
        self._on_unreached = on_unreached
        self._limiter = LogRateLimiter()
        self._looking: gevent.Greenlet[..., None] | None = None
        self._found: tuple[str, str, str] | None = None
        self._found_at = 0.0

    def note(self, event: Event) -> None:
        """Take an event of a turn; one that says that the upstream cannot be reached is recorded."""
        said = unreachable_words(event)
        if not said or (self._looking is not None and not self._looking.ready()):
            return
        if self._found is not None and time.monotonic() - self._found_at < _BELIEVED_S:
            self._record(said, *self._found)
        else:
            self._looking = gevent.spawn(self._look, said)

    def _look(self, said: str) -> None:
        self._found = diagnose(self._http, self._targets)
        self._found_at = time.monotonic()
        self._record(said, *self._found)
        self._on_unreached()

    def _record(self, said: str, cause: str, found: str, host: str) -> None:
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self.last = UpstreamFailure(at, cause, f"codex said: {said}. Tried from here: {found}")
        withheld = self._limiter.allow(cause)
        if withheld is not None:
            fields = {"cause": cause, "codex_said": said, "found": found, "host": host}
            log.warning("upstream_unreachable", extra=fields | {"withheld": withheld})


def diagnose(http: UpstreamHttp, targets: Sequence[str]) -> tuple[str, str, str]:
    """Try each address; return the cause, a sentence and the host of the first that fails. Blocks."""
    for target in targets:
        try:
            http.touch(target, _TIMEOUT_S)
        except Unreachable as error:
            return error.cause, str(error), urlsplit(target).hostname or ""
    return "other", f"{_PASSING}.", ""
