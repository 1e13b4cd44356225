"""Application with the commands and nothing else, for when the real one cannot be built.

`flask` loads the application before it looks for a command of it. Settings that are refused would end that with a
traceback, and `codex doctor`, which says what is wrong with them, could not be reached.
"""

from __future__ import annotations

from flask import Flask

from app.cli.group import group


def commands_only() -> Flask:
    """Return the application that only `flask codex …` may use: it has no route."""
    app = Flask("app", static_folder=None)
    app.cli.add_command(group)
    return app
