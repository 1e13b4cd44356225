#!/usr/bin/env python3
"""The real codex binary, except that some of what it says is lost on the way.

Stands in for CODEX_BIN. The first argument names the notifications that are lost, separated by commas. A thread whose
conversation holds the word `remember` loses none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import IO

from codex_cli_bin import bundled_codex_path


def main() -> int:
    lost = set(sys.argv[1].split(","))
    command = [str(bundled_codex_path()), *sys.argv[2:]]
    if sys.argv[2] != "app-server":
        return subprocess.run(command, check=False).returncode
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    spared: set[str] = set()
    threading.Thread(target=hand_on, args=(child.stdin, spared), daemon=True).start()
    for line in child.stdout:
        message = json.loads(line)
        thread = (message.get("params") or {}).get("threadId")
        if message.get("method") not in lost or thread in spared:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    return child.wait()


def hand_on(to_child: IO[bytes], spared: set[str]) -> None:
    for line in sys.stdin.buffer:
        if b"remember" in line:
            spared.add(json.loads(line)["params"]["threadId"])
        to_child.write(line)
        to_child.flush()
    os.close(to_child.fileno())


if __name__ == "__main__":
    sys.exit(main())
