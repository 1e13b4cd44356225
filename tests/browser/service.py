"""The gateway with the real child and the scripted upstream: started with the project's own environment.

It prints one JSON line, the address, the key and prompts with a script, and serves until its standard input ends.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.e2e.harness import KEY, Upstream, end, start_gateway

MARKUP = ["<b>no", "t bold</b> ", "<img src=x onerror=", "alert(1)> ", "&amp; ", "the end"]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        upstream = Upstream()
        gateway = start_gateway(Path(folder), upstream)
        try:
            gateway.wait_ready()
            told = {
                "url": gateway.url,
                "key": KEY,
                "markup": upstream.say(*MARKUP),
                "held": upstream.say("so far ", "and on", hold_after=2),
                "long": upstream.say(*(f"line {number}\n" for number in range(200))),
            }
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
            sys.stdin.read()
            code = gateway.stop()
        finally:
            end(gateway)
        upstream.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
