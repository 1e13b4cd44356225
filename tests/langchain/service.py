"""The gateway with the real child and the suite's upstream: started with the project's own environment.

It prints one JSON line, the address and the key, and serves until its standard input ends. It exits with 0 only if
gunicorn ended well, the log holds no error, and the upstream made none either.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.e2e.harness import KEY, Upstream, end, start_gateway

ANSWER = "tests.langchain.upstream:answer"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        upstream = Upstream("--unscripted", ANSWER)
        gateway = start_gateway(Path(folder), upstream)
        try:
            gateway.wait_ready()
            sys.stdout.write(json.dumps({"base_url": f"{gateway.url}/v1", "api_key": KEY}) + "\n")
            sys.stdout.flush()
            sys.stdin.read()
            code = gateway.stop()
        finally:
            end(gateway)
        errors = [entry for entry in gateway.log() if entry["level"] in {"error", "critical"}]
        failed = upstream.control.state()["last_errors"]
        upstream.close()
    if code or errors or failed:
        sys.stderr.write(f"exit code {code}, errors {errors}, upstream {failed}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
