"""`codex models`: what `/v1/models` offers, with each model's reasoning efforts."""

from __future__ import annotations

from collections.abc import Iterable

import click

from app.backend.request import Model
from app.cli.child import conversation
from app.cli.output import columns, json_option, say, waiting
from app.codex.home import Home
from app.settings import load_settings


@click.command("models")
@json_option
def models(*, as_json: bool) -> None:
    """List the models, the reasoning efforts that each takes, and the effort it has by default."""
    settings = load_settings()
    with (
        waiting("Asking codex for its models …"),
        conversation(settings, Home(settings.codex_home)) as connection,
    ):
        found = connection.models
    say(found, table(found), as_json=as_json)


def table(models: Iterable[Model]) -> list[str]:
    """Return the lines that a person reads."""
    rows = [(model.id, model.default_effort, " ".join(model.efforts)) for model in models]
    return columns([("MODEL", "DEFAULT", "EFFORTS"), *rows])
