"""Settings: the table of them, what their texts may be, and what a profile refuses.

Knows environment variables and `.env`. Must not know anything else of `app`: `gunicorn.conf.py` loads this package in
the master, which must not load the application, and forgets it again.
"""

from app.settings.profiles import MIN_PROD_KEY_LENGTH, is_guessable
from app.settings.table import (
    BODIES_AT_ONCE,
    OTHER_DESCRIPTORS,
    VARIABLES,
    Settings,
    SettingsError,
    advice,
    load_settings,
    read_environment,
    unknown_names,
)
from app.settings.values import ROOT, Window

__all__ = [
    "BODIES_AT_ONCE",
    "MIN_PROD_KEY_LENGTH",
    "OTHER_DESCRIPTORS",
    "ROOT",
    "VARIABLES",
    "Settings",
    "SettingsError",
    "Window",
    "advice",
    "is_guessable",
    "load_settings",
    "read_environment",
    "unknown_names",
]
