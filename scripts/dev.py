"""The gateway for its developers: it reloads when the code or `.env` changes. `make dev` runs this.

A reload is the service's own: `kill -HUP`, with its check before. Code that cannot be loaded is refused with a line in
the log (`reload_refused`), and what ran before runs on.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = (".env", "gunicorn.conf.py", "wsgi.py", "app/**/*.py")
INTERVAL_S = 0.5


def snapshot() -> dict[Path, int]:
    """Return what a reload reads: the files, and when each was changed last."""
    found = {}
    for path in (path for pattern in PATTERNS for path in ROOT.glob(pattern)):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # an editor is just replacing it
            continue
    return found


def main() -> int:
    """Run gunicorn until it ends, with a HUP after each change; return its exit code."""
    seen = snapshot()
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    master = subprocess.Popen(gunicorn, cwd=ROOT)
    # Ctrl-C reaches both processes: gunicorn ends its worker, and this one waits for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: master.terminate())
    while True:
        try:
            return master.wait(INTERVAL_S)
        except subprocess.TimeoutExpired:
            now = snapshot()
        if now != seen:
            seen = now
            master.send_signal(signal.SIGHUP)


if __name__ == "__main__":
    sys.exit(main())
