#!/usr/bin/env python3
"""The real codex binary, except that what it says arrives in pieces cut at random.

Stands in for CODEX_BIN. The pieces are one to seven bytes long for a while and then larger, so that every kind of cut
happens (inside a UTF-8 sequence, an escape, a newline) without making a test wait.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import threading
from typing import IO

from codex_cli_bin import bundled_codex_path

SEED = int(os.environ.get("SPLIT_SEED", "1"))


def main() -> int:
    command = [str(bundled_codex_path()), *sys.argv[1:]]
    if sys.argv[1] != "app-server":
        return subprocess.run(command, check=False).returncode
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert isinstance(child.stdout, io.BufferedReader)
    threading.Thread(target=hand_on, args=(child.stdin,), daemon=True).start()
    dice = random.Random(SEED)
    while data := child.stdout.read1(65536):
        while data:
            size = dice.choice([1, 2, 3, 5, 7, 200, 4000])
            os.write(1, data[:size])
            data = data[size:]
    return child.wait()


def hand_on(to_child: IO[bytes]) -> None:
    while data := os.read(0, 65536):
        to_child.write(data)
        to_child.flush()
    to_child.close()


if __name__ == "__main__":
    sys.exit(main())
