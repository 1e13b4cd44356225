"""The WSGI entry point: `gunicorn -c gunicorn.conf.py wsgi:app`."""

import logging
import os

from app import create_app
from app.cli.group import commands_only
from app.settings import SettingsError

IS_COMMAND = os.environ.get("FLASK_RUN_FROM_CLI") == "true"

if IS_COMMAND:
    # A command talks to a person, in sentences; without a handler, Python would print the names of the log's events.
    logging.getLogger("codex_api").addHandler(logging.NullHandler())

try:
    app = create_app()
except (SettingsError, OSError):
    # `flask codex doctor` must be able to say what is wrong; everybody else must not start.
    if not IS_COMMAND:
        raise
    app = commands_only()
