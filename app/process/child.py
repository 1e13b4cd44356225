"""Child process: started in a session of its own, and ended for certain.

Its stdin and stdout are the two directions of one end of a socketpair: a plain socket on our side, one descriptor,
half-close for EOF. It gets a session of its own (so that a Ctrl-C in the operator's terminal does not reach it, and
so that its helpers can be ended with it), no inherited descriptor, and a death signal tied to this worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import gevent
from gevent import socket, subprocess

from app.log_limiter import LogRateLimiter
from app.process import fork_filter
from app.process import stderr as stderr_lines

log = logging.getLogger("codex_api.process")

_PR_SET_PDEATHSIG = 1
_STDERR_LINE_LIMIT = 64 * 1024
_TAIL_LINES = 40
_TAIL_LINE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """Program to start and its arguments, the whole environment, the working directory.

    `pass_fds` are handed over beside stdin, stdout and stderr; nothing else is inherited. One that `is_alone` can start
    no process of its own.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    cwd: Path
    pass_fds: tuple[int, ...] = ()
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class StopLadder:
    """Time for each way of ending a child, in seconds: EOF on stdin, then SIGTERM, then SIGKILL."""

    eof_s: float = 2.0
    term_s: float = 2.0
    kill_s: float = 2.0

    @property
    def total_s(self) -> float:
        """Longest time that an end may take."""
        return self.eof_s + self.term_s + self.kill_s


class StartRefused(OSError):
    """A child cannot be started until a person has done something. `reason` is a word for it."""

    reason = "start_refused"


class Child:
    """A started process. `socket` is our end of its stdin and stdout; its reader must read to the end."""

    def __init__(self, spec: ChildSpec) -> None:
        """Start the process. Raises `OSError` when it cannot be started. Blocks for the fork only."""
        # gevent reaps children through SIGCHLD; gunicorn resets that signal after post_fork. A child started before
        # the reset would never be reaped.
        ours, theirs = socket.socketpair()
        try:
            self._popen = subprocess.Popen(
                spec.argv,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env=spec.env,
                cwd=spec.cwd,
                close_fds=True,
                pass_fds=spec.pass_fds,
                start_new_session=True,
                preexec_fn=before_exec(os.getpid(), is_alone=spec.is_alone),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.name = spec.name
        self.socket = ours
        self.notes: dict[str, str] = {}
        """What its handshake told of it, for the log."""
        self._log_limiter = LogRateLimiter()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._stderr = gevent.spawn(self._drain_stderr, self._popen.stderr)

    @property
    def pid(self) -> int:
        """The process id, which is also its session and process group."""
        return int(self._popen.pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        code = self._popen.poll()
        return None if code is None else int(code)

    @property
    def last_words(self) -> str:
        """What it said on stderr at last, scrubbed: the reason why it could not start. Whole once it has been closed.

        Only for a child that never shook hands: one that has served may quote prompts.
        """
        return stderr_lines.last_words(self._tail)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Block until it exits or the time is up; return the exit code, or None if it still runs."""
        try:
            return int(self._popen.wait(timeout=timeout_s))
        except subprocess.TimeoutExpired:
            return None

    def stop(self, ladder: StopLadder) -> int | None:
        """End it: EOF, SIGTERM, SIGKILL, each with its time. Blocks; returns the exit code.

        The caller goes on reading `socket` meanwhile: a child that is blocked on a full stdout cannot exit.
        """
        self.send_eof()
        code = self.wait(ladder.eof_s)
        if code is None:
            self._signal(signal.SIGTERM)
            code = self.wait(ladder.term_s)
        if code is None:
            log.warning("child_killed", extra={"child": self.name, "pid": self.pid})
            self._signal(signal.SIGKILL)
            code = self.wait(ladder.kill_s)
        self._signal(signal.SIGKILL)  # what is left of its session: helpers that it started
        return code

    def end(self, ladder: StopLadder, detach: Callable[[], None] = lambda: None) -> int | None:
        """Stop it if it still runs, and release everything. Blocks; returns the exit code.

        `detach` ends the reader of `socket`: it is called once the process is gone, and before the socket is closed.
        """
        code = self.stop(ladder)
        detach()
        self.close()
        return code

    def send_eof(self) -> None:
        """Close our direction of the pipe: the sign for the child to finish and exit."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """SIGKILL the whole session, at once."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Release our descriptors. Call once the reader is done."""
        self.socket.close()
        self._stderr.join(timeout=1)
        # To its end before the stream is closed: closing a stream under its reader is a RuntimeError.
        self._stderr.kill()
        if self._popen.stderr is not None:
            self._popen.stderr.close()

    def _signal(self, number: int) -> None:
        # The group, not the process: the child may have started helpers of its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _drain_stderr(self, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        with contextlib.suppress(OSError, ValueError):  # closed under us while stopping
            while line := stream.readline(_STDERR_LINE_LIMIT):
                self._note_line(line)
                gevent.sleep(
                    0
                )  # reading does not yield while there is more: a child may never stop

    def _note_line(self, line: bytes) -> None:
        text = line[:_TAIL_LINE_LENGTH].decode(errors="replace")
        self._tail.append(text)
        category = stderr_lines.classify(text)
        withheld = self._log_limiter.allow(category.name)
        if withheld is None:
            return
        fields = {
            "child": self.name,
            "pid": self.pid,
            "category": category.name,
            "size": len(line),
            "withheld": withheld,
        }
        log.log(
            logging.getLevelNamesMapping()[category.level.upper()], "child_stderr", extra=fields
        )

    def __repr__(self) -> str:
        code = self.exit_code
        return f"<Child {self.name} pid={self.pid} {'running' if code is None else f'exit={code}'}>"


def failed_start(problem: str, last_words: str) -> str:
    """Return why a child did not come up: what we saw of it and, where it said something, its own words."""
    return f"{problem}; it said: {last_words}" if last_words else problem


def before_exec(parent: int, *, is_alone: bool = False) -> Callable[[], None]:
    """Return what runs in a child of the process `parent` between fork and exec: the `preexec_fn` of `Popen`.

    On Linux it asks for SIGKILL when the thread that forked it dies (prctl(2)); elsewhere EOF on stdin must do. Raises
    `OSError` where a child that `is_alone` cannot be kept from starting others.
    """
    keep_alone = fork_filter.installer() if is_alone else lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        os.umask(0o077)  # what it writes (databases, auth.json) is for this user only
        keep_alone()
        if prctl is None:
            return
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the worker died between fork and prctl
            os._exit(1)

    return prepare
