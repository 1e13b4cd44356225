"""Terminal of its own for a command, and what the command wrote there and when."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.pictures.recording import Written

_WAIT_S = 60


class Terminal:
    """A command that runs at a terminal. Times are those of the monotonic clock."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], columns: int
    ) -> None:
        self.written: list[Written] = []
        self._came = threading.Condition()
        self._ended = False
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, text: str) -> None:
        """Block until the command has written a text; `TimeoutError` if it does not."""
        self._wait(lambda: text in self.text())

    def wait(self) -> None:
        """Block until the command has ended."""
        self._wait(lambda: self._ended)
        self._process.wait(_WAIT_S)

    def end(self) -> None:
        """End the command and its children as Ctrl-C does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
            self.wait()

    def text(self) -> str:
        """Return all that was written."""
        return "".join(written.text for written in self.written)

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._came:
            if not self._came.wait_for(lambda: condition() or self._ended, _WAIT_S):
                raise TimeoutError(f"It has written only this: {self.text()}")
        if not condition():
            raise TimeoutError(f"It has ended, and had written: {self.text()}")

    def _read(self) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        try:
            while data := os.read(self._ours, 65536):
                with self._came:
                    self.written.append(Written(time.monotonic(), decode(data)))
                    self._came.notify_all()
        except OSError:
            pass  # how a terminal says that nobody has it open any more
        with self._came:
            self._ended = True
            self._came.notify_all()
