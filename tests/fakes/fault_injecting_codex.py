#!/usr/bin/env python3
"""The real codex binary behind a pipe that a test can spoil while it runs.

Stands in for CODEX_BIN, with a folder as its first argument. Lines are passed on whole and in order. A fault adds to
them or delays them, but never takes one away: whatever the gateway loses then is the gateway's loss. A file in the
folder, named after the real binary's pid, holds the loopback port on which faults are asked for, one line each (see
`FAULTS` and `LASTING`); each is answered with a line once it is done, or has begun where it lasts.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from codex_cli_bin import bundled_codex_path

OWN_ID = b'{"id":"injected'
WRONG = (
    b"{not json",
    b"\xff\xfe\x00canary",
    b"[]",
    b"null",
    b"canary",
    b'{"id":true,"result":{}}',
    b'{"id":987654321,"result":{"text":"canary"}}',
    b'{"id":"nobody","error":{"code":-1,"message":"canary"}}',
    b'{"id":{},"method":"x"}',
    b'{"method":"no/such/thing","params":{"text":"canary"}}',
    b'{"method":"turn/completed"}',
    b'{"method":"turn/completed","params":{"threadId":"nobody","turn":{"id":"x","status":"completed"}}}',
    b'{"method":"item/agentMessage/delta","params":{"threadId":"nobody","turnId":"x","delta":"canary"}}',
    b'{"method":"item/agentMessage/delta","params":{"threadId":7,"delta":[]}}',
    b"[" * 5000,
    b"",
    b"\r",
)


class Pipe:
    """What comes from the child, on its way to the gateway."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.lock = threading.Lock()  # a whole line goes out while it is held
        self.into = threading.Lock()  # and one goes in
        self.ends: dict[str, float] = {}
        self.answers: list[bytes] = []
        self.answered = threading.Condition()
        self._dice = random.Random(1)

    def lasts(self, fault: str) -> bool:
        return time.monotonic() < self.ends.get(fault, 0.0)

    def hear(self) -> None:
        """Hand on what the gateway says, line by line, until its end."""
        source = sys.stdin.buffer
        assert self.child.stdin is not None
        while line := source.readline():
            while self.lasts("deaf"):
                time.sleep(0.01)
            self.tell(line)
        self.child.stdin.close()

    def tell(self, line: bytes) -> None:
        assert self.child.stdin is not None
        with self.into:
            try:
                self.child.stdin.write(line)
                self.child.stdin.flush()
            except BrokenPipeError:
                return  # it died; its end is told by its output

    def speak(self) -> None:
        """Hand on what the child says, line by line, until its end."""
        assert self.child.stdout is not None
        while line := self.child.stdout.readline():
            if line.startswith(OWN_ID):
                with self.answered:
                    self.answers.append(line)
                    self.answered.notify()
                continue
            with self.lock:
                self._say(line)

    def _say(self, line: bytes) -> None:
        if self.lasts("half"):
            write(line[: len(line) // 2] + b"\n")
        if self.lasts("torn"):
            while line:
                size = self._dice.choice([1, 2, 3, 7, 100, 4000])
                write(line[:size])
                line = line[size:]
        elif self.lasts("slow"):
            middle = len(line) // 2
            write(line[:middle])
            time.sleep(0.02)
            write(line[middle:])
        else:
            write(line)

    # Faults

    def garbage(self, count: str) -> str:
        for _ in range(int(float(count))):
            with self.lock:
                write(self._dice.choice(WRONG) + b"\n")
        return "done"

    def huge(self, size: str) -> str:
        head, tail = b'{"method":"no/such/thing","params":{"text":"canary', b'"}}\n'
        line = head + b"x" * (int(float(size)) - len(head) - len(tail)) + tail
        with self.lock:
            write(line)
        return "done"

    def stderr(self, count: str) -> str:
        for number in range(int(float(count))):
            os.write(2, b"ERROR canary in what the child complains of %d\n" % number)
        os.write(2, b"canary" * 50_000 + b"\n")
        return "done"

    def loaded(self, _: str) -> str:
        """Ask the child how many threads it holds."""
        with self.answered:
            self.answers.clear()
            self.tell(OWN_ID + b'","method":"thread/loaded/list","params":{}}\n')
            if not self.answered.wait_for(lambda: self.answers, 10):
                return "no answer"
            answer = json.loads(self.answers[0])
        return str(len(answer["result"]["data"])) if "result" in answer else json.dumps(answer)

    def _for_a_while(self, fault: str) -> Callable[[str], str]:
        def begin(seconds: str) -> str:
            self.ends[fault] = time.monotonic() + float(seconds)
            return "begun"

        return begin

    def inject(self, words: str) -> str:
        fault, _, argument = words.partition(" ")
        if fault in LASTING:
            return self._for_a_while(fault)(argument)
        return FAULTS[fault](self, argument)


LASTING = ("torn", "half", "slow", "deaf")
FAULTS: dict[str, Callable[[Pipe, str], str]] = {
    "garbage": Pipe.garbage,
    "huge": Pipe.huge,
    "stderr": Pipe.stderr,
    "loaded": Pipe.loaded,
}


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def listen(pipe: Pipe, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        new = folder / f".{pipe.child.pid}"
        new.write_text(str(listener.getsockname()[1]))
        new.rename(folder / str(pipe.child.pid))
        while True:
            connection, _ = listener.accept()
            with suppress(OSError), connection, connection.makefile("rw") as lines:
                serve(pipe, lines)


def serve(pipe: Pipe, lines: IO[str]) -> None:
    for line in lines:
        lines.write(pipe.inject(line.strip()) + "\n")
        lines.flush()


def main() -> int:
    folder, *arguments = sys.argv[1:]
    command = [str(bundled_codex_path()), *arguments]
    if arguments[:1] != ["app-server"]:
        return subprocess.run(command, check=False).returncode
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pipe = Pipe(child)
    for work in (pipe.hear, lambda: listen(pipe, Path(folder))):
        threading.Thread(target=work, daemon=True).start()
    pipe.speak()
    return child.wait()


if __name__ == "__main__":
    # At once: a thread may still be blocked on the gateway's end.
    os._exit(main() & 0xFF)
