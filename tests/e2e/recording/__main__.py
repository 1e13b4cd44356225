"""A command that writes `before.json` again, or a file that is named. See the package."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.e2e.harness import Upstream
from tests.e2e.recording.document import BEFORE, record, to_text


def main(arguments: list[str]) -> None:
    """Record what is checked out."""
    target = Path(arguments[0]) if arguments else BEFORE
    upstream = Upstream()
    try:
        with tempfile.TemporaryDirectory() as folder:
            target.write_text(to_text(record(upstream, Path(folder))))
    finally:
        upstream.close()


main(sys.argv[1:])
