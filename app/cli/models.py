"""`codex models`: what `/v1/models` offers, with each model's reasoning efforts."""

from __future__ import annotations

from collections.abc import Iterable

import click

from app.backend.request import Model
from app.cli.child import ChildFailed, conversation, launcher_of
from app.cli.exit_codes import give_up, load
from app.cli.output import columns, say_json, waiting
from app.codex.home import Home


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def models(*, as_json: bool) -> None:
    """List the models, the reasoning efforts that each takes, and the effort it has by default."""
    settings = load()
    try:
        launcher = launcher_of(settings, Home(settings.codex_home))
        with (
            waiting("Asking codex for its models …"),
            conversation(launcher, settings) as connection,
        ):
            found = connection.models
    except ChildFailed as error:
        give_up(f"{error} To find out more: flask --app wsgi codex doctor")
    if as_json:
        say_json(found)
    else:
        click.echo("\n".join(table(found)))


def table(models: Iterable[Model]) -> list[str]:
    """Return the lines that a person reads."""
    rows = [(model.id, model.default_effort, " ".join(model.efforts)) for model in models]
    return columns([("MODEL", "DEFAULT", "EFFORTS"), *rows])
