"""The WSGI entry point: `gunicorn -c gunicorn.conf.py wsgi:app`."""

import os

from app import VERSION, create_app
from app.cli.bare import commands_only
from app.settings import SettingsError

try:
    app = create_app()
except (SettingsError, OSError):
    # `flask codex doctor` must be able to say what is wrong; everybody else must not start.
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
        raise
    app = commands_only(VERSION)
