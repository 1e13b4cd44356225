"""Binary of codex: the version that is tested, and what can be said of a file that cannot be the child."""

from __future__ import annotations

import shlex
import shutil
from functools import cache
from importlib import metadata
from pathlib import Path

from app.process.child import StartRefused

CHILD_PATH = "/usr/bin:/bin"
"""The child's whole PATH."""

_FIRST_LINE = 256


class BinaryRefused(StartRefused):
    """CODEX_BIN names something that cannot be started in the child's environment."""

    reason = "binary_refused"


@cache
def pinned_version() -> str:
    """Return the version of the binary that `requirements.txt` brings."""
    return metadata.version("openai-codex-cli-bin")


def check_binary(binary: Path) -> None:
    """Refuse a script whose interpreter the child's PATH does not have, such as npm's launcher. Raises `BinaryRefused`.

    Whatever else is wrong with the file, the system says by itself.
    """
    interpreter = _interpreter(binary)
    if interpreter and shutil.which(interpreter, path=CHILD_PATH) is None:
        raise BinaryRefused(
            f"CODEX_BIN is a script for {interpreter}, which the child's PATH ({CHILD_PATH}) does not have. Name the "
            "native binary: npm puts it into the platform's package, as vendor/<platform>/bin/codex."
        )


_NATIVE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def is_native(binary: Path) -> bool:
    """Return whether a file is a program by itself (ELF, Mach-O), and no script for another one. Raises `OSError`."""
    with binary.open("rb") as file:
        return file.read(4) in _NATIVE


def _interpreter(binary: Path) -> str:
    """Return the program that a script names on its first line, itself or through `env`; empty for any other file."""
    try:
        with binary.open("rb") as file:
            first = file.readline(_FIRST_LINE)
    except OSError:
        return ""
    if not first.startswith(b"#!"):
        return ""
    try:
        words = shlex.split(first[2:].decode(errors="replace"))
    except ValueError:
        return ""
    if not words or Path(words[0]).name != "env":
        return words[0] if words else ""
    return next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
