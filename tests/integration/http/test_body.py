"""Reading of a body in a process that has no memory left for it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import resource
from app.http.body import _parse
raw = b"[" + b"{}," * 5_000_000 + b"{}]"
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 24), -1))
try:
    _parse(raw, dict)
except BaseException as error:
    print(type(error).__name__)
"""


def test_a_body_for_which_there_is_no_memory_is_not_called_wrong() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["MemoryError"]
