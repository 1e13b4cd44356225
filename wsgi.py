"""The WSGI entry point: `gunicorn -c gunicorn.conf.py wsgi:app`."""

import logging
import os
import sys

import click
from gunicorn.errors import AppImportError

from app import create_app
from app.cli.group import commands_only
from app.settings import SettingsError

IS_COMMAND = os.environ.get("FLASK_RUN_FROM_CLI") == "true"
IS_CONFIGURED = "GATEWAY_CONFIGURED" in os.environ
HOW = (
    "The gateway is served by gunicorn with its own configuration, which runs codex beside it: "
    "make run, or .venv/bin/gunicorn -c gunicorn.conf.py wsgi:app in its folder."
)

if __name__ == "__main__":
    sys.exit(HOW)
if IS_COMMAND:
    # A command talks to a person, in sentences; without a handler, Python would print the names of the log's events.
    logging.getLogger("codex_api").addHandler(logging.NullHandler())
    context = click.get_current_context(silent=True)
    if context is not None and context.info_name == "run":
        sys.exit(HOW)
elif not IS_CONFIGURED:
    raise AppImportError(HOW)  # what gunicorn takes for an end, and not for a crash

try:
    app = create_app()
except (SettingsError, OSError):
    # `flask codex doctor` must be able to say what is wrong; everybody else must not start.
    if not IS_COMMAND:
        raise
    app = commands_only()
