"""Small programs that a test starts as a child, each with one habit. A program is text for `python -c`.

Every one says a line on stdout once it is what its name says, so that a test waits for that and not for a time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gevent
from gevent import socket

from app.process.child import Child, ChildSpec
from tests.fakes.waiting import deadline

POLITE = """
import sys
print("ready", flush=True)
sys.stdin.read()
"""

IGNORES_EOF = """
import signal
print("ready", flush=True)
while True:
    signal.pause()
"""

IGNORES_EOF_AND_TERM = (
    """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
    + IGNORES_EOF
)

WRITES_MUCH_AT_THE_END = (
    POLITE
    + """
sys.stdout.write("x" * 4_000_000)
sys.stdout.flush()
"""
)

HAS_A_HELPER = """
import subprocess, sys
helper = subprocess.Popen(["sleep", "1000"])
print(helper.pid, flush=True)
sys.stdin.read()
"""

HAS_A_HELPER_ELSEWHERE = """
import subprocess, sys
helper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print(helper.pid, flush=True)
sys.stdin.read()
"""

NEVER_SPEAKS = """
import sys
sys.stdin.read()
"""

TRIES_TO_START_OTHERS = """
import json, os, subprocess, threading
def fork():
    if os.fork() == 0:
        os._exit(0)
tries = {
    "fork": fork,
    "subprocess": lambda: subprocess.run(["/bin/true"], check=True),
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "thread": lambda: threading.Thread(target=lambda: None).start(),
}
found = {}
for name, start in tries.items():
    try:
        start()
        found[name] = "started"
    except OSError as error:
        found[name] = os.strerror(error.errno)
print(json.dumps(found), flush=True)
"""

DESCRIBES_ITSELF = """
import json, os, sys
umask = os.umask(0)
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        fds[int(name)] = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        pass  # the one that listed them
with open("/proc/self/environ", "rb") as file:
    environ = file.read().decode()
print(json.dumps({
    "pid": os.getpid(),
    "session": os.getsid(0),
    "group": os.getpgid(0),
    "umask": umask,
    "cwd": os.getcwd(),
    "environ": environ,
    "fds": fds,
}), flush=True)
sys.stdin.read()
"""


def python(program: str) -> tuple[str, ...]:
    """Return the command for a program; isolated and without site, so that it starts fast."""
    return (sys.executable, "-I", "-S", "-c", program)


def spec(
    program: str,
    cwd: Path,
    *,
    name: str = "fake",
    env: dict[str, str] | None = None,
    is_alone: bool = False,
) -> ChildSpec:
    """Say how to start a program."""
    return ChildSpec(name=name, argv=python(program), env=env or {}, cwd=cwd, is_alone=is_alone)


def read_line(child: Child) -> str:
    """Wait for the first line of a child that says nothing more for now."""
    line = b""
    with deadline():
        while not line.endswith(b"\n"):
            piece = child.socket.recv(65536)
            assert piece, f"it ended after {line!r}"
            line += piece
    return line.decode().strip()


def read_to_end(sock: socket.socket) -> int:
    """Drain a child's stdout; return how many bytes there were."""
    total = 0
    while piece := sock.recv(1 << 20):
        total += len(piece)
        gevent.sleep(0)
    return total
