"""Print what CHANGELOG.md says of a version: `release_notes.py 0.2.0`, with or without a `v`; Unreleased without one.

For the text of a release; exits with 1 where there is no such version, or nothing is said of it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def notes(changelog: str, version: str) -> str:
    """Return what is said of a version, without its heading; empty where it is not there."""
    parts = re.split(r"^## \[(.+?)\].*$", changelog, flags=re.MULTILINE)[1:]
    said = dict(zip(parts[::2], parts[1::2], strict=True))
    # The addresses of links stand at the end of the page.
    return re.sub(r"^\[.+?\]: \S+$", "", said.get(version, ""), flags=re.MULTILINE).strip()


def main(arguments: list[str]) -> int:
    """Print the notes of the version that is named; return the exit code."""
    version = (arguments or ["Unreleased"])[0].removeprefix("v")
    if not (text := notes(CHANGELOG.read_text(), version)):
        print(f"CHANGELOG.md says nothing of {version}.", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
