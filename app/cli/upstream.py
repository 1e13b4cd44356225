"""Which upstream a gateway with these settings uses, and why. Pure.

The same decision as the application's own, in words; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.settings import Settings

_NOBODY = "http://127.0.0.1:9/v1"
"""Where the demo upstream would be: it has no address before a worker starts it, and no command sends a turn."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers, and the reason as a sentence."""

    kind: UpstreamKind
    reason: str
    address: str = ""


def choose(settings: Settings, *, login_known: bool) -> Choice:
    """Return who answers; `login_known` is whether there is a login or ever was one."""
    if settings.upstream_url:
        return Choice(
            UpstreamKind.CONFIGURED, "CODEX_UPSTREAM_URL is set.", address=settings.upstream_url
        )
    if login_known:
        return Choice(UpstreamKind.OPENAI, "A login is, or once was, in CODEX_HOME.")
    if settings.env == "prod":
        return Choice(UpstreamKind.OPENAI, "PROXY_ENV is prod, where the demo never serves.")
    return Choice(
        UpstreamKind.DEMO,
        "No login was ever made and no CODEX_UPSTREAM_URL is set: answers are scripted.",
    )


def is_login_known(home: Home) -> bool:
    """Return whether there is a login or ever was one. Unlike the application, leaves no mark of having seen it."""
    return home.auth_file.exists() or home.login_marker.exists()


def for_handshake(settings: Settings, choice: Choice) -> Upstream:
    """Return the upstream for a child that shakes hands only: like the service's, but without a key."""
    if choice.kind is UpstreamKind.OPENAI:
        return Upstream(UpstreamKind.OPENAI)
    websockets = choice.kind is UpstreamKind.CONFIGURED and settings.upstream_websockets
    return Upstream(choice.kind, choice.address or _NOBODY, websockets=websockets)
