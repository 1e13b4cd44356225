"""Compiled code of the application, kept in CODEX_HOME: a start need not compile what has not changed.

Python would write it next to the sources, outside CODEX_HOME, and take it for current by the second and the size of a
change, while a HUP has to load what is on the disk. Here it is current if it was made from this very text. Only where
the sources are this user's to write: elsewhere (in an image) a folder that is would be a way into code that is not.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing that does.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from contextlib import suppress
from functools import partial
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType

_DIGEST = 32
_SOURCES = Path(__file__).resolve().parent.parent


def keep_in(folder: Path) -> None:
    """Let modules of the application be loaded by way of a folder, from now on and in every process forked from here.

    Raises nothing: without the folder everything is compiled, as it would be.
    """
    sys.path_hooks[:] = [hook for hook in sys.path_hooks if not isinstance(hook, _Hook)]
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(_SOURCES, os.W_OK):
            sys.path_hooks.insert(0, _Hook(folder))
    for place in [place for place in sys.path_importer_cache if _is_ours(place)]:
        del sys.path_importer_cache[place]


def _is_ours(place: str) -> bool:
    return f"{place}{os.sep}".startswith(f"{_SOURCES}{os.sep}")


class _Hook:
    """Entry of `sys.path_hooks` for the folders of the application."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, place: str) -> FileFinder:
        if not _is_ours(place):
            raise ImportError
        make = partial(_Loader, self._folder)
        return FileFinder(place, (make, SOURCE_SUFFIXES))  # type: ignore[arg-type]  # called, not looked at


class _Loader(SourceFileLoader):
    """Loader of one module."""

    def __init__(self, folder: Path, name: str, path: str) -> None:
        super().__init__(name, path)
        self._file = folder / name

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code, compiled now or before."""
        source = self.get_data(self.path)
        made_from = _digest(
            MAGIC_NUMBER, bytes([sys.flags.optimize]), os.fsencode(self.path), source
        )
        with suppress(OSError):
            kept = self._file.read_bytes()
            code = kept[2 * _DIGEST :]
            if kept[: 2 * _DIGEST] == made_from + _digest(code):
                found: CodeType = marshal.loads(code)  # noqa: S302 - as Python's own files; this user's
                return found
        compiled: CodeType = self.source_to_code(source, self.path)
        with suppress(OSError):
            self._keep(made_from, marshal.dumps(compiled))
        return compiled

    def _keep(self, made_from: bytes, code: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._file.parent, delete=False) as part:
            part.write(made_from + _digest(code) + code)
        Path(part.name).replace(self._file)


def _digest(*parts: bytes) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.digest()
