"""Keys of the gateway's callers, read as the gateway reads them, and again whenever `.env` has changed.

So a key that was taken out of `.env` is refused at once, and one that was put in counts as soon as the gateway has had
its HUP: each of the two can only keep out. What counts is what the file says now, in every worker and whatever it said
before: where it names no key, nobody has one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from app.settings import ROOT, VARIABLES, SettingsError, load_settings, read_environment

log = logging.getLogger("codex_api.forward_auth")

_ONE, _MORE = (v.metadata for v in VARIABLES if v.name in {"api_key", "api_keys"})

_Mark = tuple[int, int, int] | None


class CurrentKeys:
    """Every key that opens `/v1`, by its name; none where they cannot be read."""

    def __init__(self, env_file: Path = ROOT / ".env") -> None:
        """Read them. Raises `SettingsError` where the gateway would not start either: without any key, above all."""
        self._env_file = env_file
        self._mark = self._look()
        source = read_environment(env_file)
        load_settings(source)
        self._keys = _keys_of(source)

    def __call__(self) -> Mapping[str, bytes]:
        """Return the keys that count now. Blocks for a look at the file, and for its reading where it has changed."""
        mark = self._look()  # before it is read: what changes meanwhile is seen the next time
        if mark != self._mark:
            self._keys = self._read()
            self._mark = mark
        return self._keys

    def _look(self) -> _Mark:
        try:
            found = self._env_file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> Mapping[str, bytes]:
        """Other settings are not looked at: whether they are refused is the gateway's affair."""
        try:
            found = _keys_of(read_environment(self._env_file))
        except SettingsError as error:
            log.error("keys_not_read", extra={"problems": error.problems})  # noqa: TRY400  (it says all)
            return {}
        log.info("keys_read", extra={"keys": len(found)})
        return found


def _keys_of(source: Mapping[str, str]) -> Mapping[str, bytes]:
    """Raises `SettingsError`, which quotes no key."""
    one, more = (source.get(each["name"], "").strip() for each in (_ONE, _MORE))
    try:
        named = {"default": _ONE["parse"](one), **_MORE["parse"](more)}
    except ValueError as error:
        raise SettingsError([f"The keys must be {error}."]) from None
    if not one:
        raise SettingsError([f"{_ONE['name']} is required."])
    return {name: key.encode() for name, key in named.items()}
