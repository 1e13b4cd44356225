"""Choice of the upstream that serves: a configured URL, OpenAI with the login in CODEX_HOME, or the built-in demo."""

from __future__ import annotations

from dataclasses import dataclass

from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class UpstreamChoice:
    """The upstream, and the reason for it as a sentence. The demo's is incomplete: its address comes with its start."""

    upstream: Upstream
    reason: str

    @property
    def kind(self) -> UpstreamKind:
        """Which of the three it is."""
        return self.upstream.kind

    @property
    def address(self) -> str:
        """The URL of a configured upstream; empty for the two others."""
        return self.upstream.base_url


def choose_upstream(settings: Settings, home: Home) -> UpstreamChoice:
    """Return the choice. Looks for a login in `home` and changes nothing there."""
    if settings.upstream_url:
        configured = Upstream(
            UpstreamKind.CONFIGURED,
            settings.upstream_url,
            has_key=bool(settings.upstream_api_key),
            websockets=settings.upstream_websockets,
        )
        return UpstreamChoice(configured, "CODEX_UPSTREAM_URL is set.")
    openai = Upstream(UpstreamKind.OPENAI, websockets=settings.upstream_websockets)
    if home.is_login_known:
        stored = home.read_login()
        is_useless = home.auth_file.exists() and not stored.is_usable
        reason = "A login is, or once was, in CODEX_HOME."
        return UpstreamChoice(
            openai, f"auth.json is no login: {stored.problem}" if is_useless else reason
        )
    if settings.env == "prod":
        return UpstreamChoice(openai, "PROXY_ENV is prod, where the demo never serves.")
    return UpstreamChoice(
        Upstream(UpstreamKind.DEMO),
        "No login was ever made and no CODEX_UPSTREAM_URL is set: answers are scripted.",
    )
