"""System's resolver for a process that has this folder in its PYTHONPATH: no server answers for names below `.silent`.

The folder `SILENT_NAMES` gets a file for each such name that is looked up; once it has one called `answers`, they fail.
"""

import _socket
import os
import time
from pathlib import Path
from typing import Any

_FOLDER = Path(os.environ.get("SILENT_NAMES", "."))
_resolve = _socket.getaddrinfo
_sleep = time.sleep  # gevent's would not block the thread


def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
    """Block the thread for as long as the server is silent, as the C library does."""
    name = host.decode() if isinstance(host, bytes) else str(host)
    if not name.endswith(".silent"):
        return _resolve(host, *arguments, **options)
    (_FOLDER / name).touch()
    while not (_FOLDER / "answers").exists():
        _sleep(0.01)
    raise _socket.gaierror(_socket.EAI_AGAIN, "Temporary failure in name resolution")


_socket.getaddrinfo = getaddrinfo
