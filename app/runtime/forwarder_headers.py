"""Headers with which a proxy would change what a request is: its path, its method, its user. None is believed.

gunicorn takes `SCRIPT_NAME` off the path, which a client could have set as well: a rule for paths in the proxy would
then have judged another path than the one that is served, and a prefix that does not fit would be a 500. The gateway
serves what stands in the request line.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

CGI_NAMES = ("SCRIPT_NAME", "PATH_INFO", "REMOTE_USER")
"""What gunicorn is to let through where a trusted proxy sends it, so that it can be taken out and named here."""

_KNOWN = frozenset(
    {
        *CGI_NAMES,
        "SCRIPT-NAME",
        "PATH-INFO",
        "REMOTE-USER",
        "X-FORWARDED-PREFIX",
        "X-FORWARDED-USER",
        "X-HTTP-METHOD",
        "X-HTTP-METHOD-OVERRIDE",
        "X-METHOD-OVERRIDE",
        "X-ORIGINAL-URI",
        "X-ORIGINAL-URL",
        "X-REMOTE-USER",
        "X-REWRITE-URL",
        "X-SCRIPT-NAME",
    }
)

_NONE: frozenset[str] = frozenset()  # one object, since it lives as long as each request

Headers = list[tuple[str, str]]
"""As gunicorn has them: names in capitals."""


def without(headers: Sequence[tuple[str, str]]) -> tuple[Headers, frozenset[str]]:
    """Return the headers that the application may see, and which names of the list above were taken out.

    A name with an underscore goes in any case: in WSGI it could not be told from one with a hyphen.
    """
    kept = [header for header in headers if header[0] not in _KNOWN and "_" not in header[0]]
    if len(kept) == len(headers):
        return kept, _NONE
    return kept, frozenset(name for name, _ in headers if name in _KNOWN)
