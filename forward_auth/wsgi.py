"""WSGI entry point: `gunicorn -c forward_auth/gunicorn_conf.py forward_auth.wsgi:app`."""

import sys

from app.settings import SettingsError
from forward_auth.keys import CurrentKeys
from forward_auth.verify import Verify

try:
    app = Verify(CurrentKeys())
except SettingsError as error:
    sys.exit(
        "\n".join(error.problems)
    )  # no key, no service: a proxy that cannot ask lets nobody in
