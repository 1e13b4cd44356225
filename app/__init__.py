"""The gateway: OpenAI's API outside, one supervised `codex app-server` child inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return the WSGI application; see `app.factory`. Raises `SettingsError` with every problem at once.

    Loaded here and not above: the demo upstream, a process of its own in this package, starts without Flask.
    """
    from app import factory  # noqa: PLC0415

    return factory.create_app(settings)
