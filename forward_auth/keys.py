"""Keys of the gateway's callers, read as the gateway reads them, and again whenever `.env` has changed.

So a key that was taken out of `.env` is refused at once, and one that was put in counts as soon as the gateway has had
its HUP: each of the two can only keep out. Settings that are refused change nothing, as at a reload of the gateway.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from app.settings import ROOT, SettingsError, load_settings, read_environment

log = logging.getLogger("codex_api.forward_auth")

_Mark = tuple[int, int, int] | None


class CurrentKeys:
    """Every key that opens `/v1`, by its name."""

    def __init__(self, env_file: Path = ROOT / ".env") -> None:
        """Read them. Raises `SettingsError` where the gateway would not start either: without any key, above all."""
        self._env_file = env_file
        self._mark = self._look()
        self._keys = self._read()

    def __call__(self) -> Mapping[str, bytes]:
        """Return the keys that count now. Blocks for a look at the file, and for its reading where it has changed."""
        mark = self._look()  # before it is read: what changes meanwhile is seen the next time
        if mark != self._mark:
            self._mark = mark
            try:
                self._keys = self._read()
            except SettingsError as error:
                log.error("keys_not_read", extra={"problems": error.problems})  # noqa: TRY400  (no traceback: ours)
            else:
                log.info("keys_read", extra={"keys": len(self._keys)})
        return self._keys

    def _look(self) -> _Mark:
        try:
            found = self._env_file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> Mapping[str, bytes]:
        settings = load_settings(read_environment(self._env_file))
        return {name: key.encode() for name, key in settings.client_keys.items()}
