"""Gateway: OpenAI's API outside, one supervised `codex app-server` child inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.runtime.build import BackendChoice
    from app.settings import Settings


def create_app(
    settings: Settings | None = None, choose_backend: BackendChoice | None = None
) -> Flask:
    """Return the WSGI application; see `app.factory`. Raises `SettingsError` with every problem at once.

    Loaded here and not above: the master reads modules of this package without Flask.
    """
    from app import factory  # noqa: PLC0415

    return factory.create_app(settings, choose_backend)
