"""`codex models`: what `/v1/models` offers, with each model's reasoning efforts."""

from __future__ import annotations

from collections.abc import Iterable

import click

from app.backend.request import Model
from app.cli.child import conversation
from app.cli.output import columns, json_option, say, waiting
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.upstream import choose_upstream
from app.settings import Settings, load_settings


@click.command("models")
@json_option
def models(*, as_json: bool) -> None:
    """List the models, the reasoning efforts that each takes, and the effort it has by default."""
    settings = load_settings()
    home = Home(settings.codex_home)
    with (
        waiting("Asking codex for its models …"),
        conversation(settings, home, models_of(settings, home)) as connection,
    ):
        found = connection.models
    say(found, table(found), as_json=as_json)


def models_of(settings: Settings, home: Home) -> Upstream:
    """Return the upstream whose models are listed; the demo has codex's own, as OpenAI has."""
    upstream = choose_upstream(settings, home).upstream
    return upstream if upstream.kind is UpstreamKind.CONFIGURED else Upstream(UpstreamKind.OPENAI)


def table(models: Iterable[Model]) -> list[str]:
    """Return the lines that a person reads."""
    rows = [(model.id, model.default_effort or "-", " ".join(model.efforts)) for model in models]
    return columns([("MODEL", "DEFAULT", "EFFORTS"), *rows])
