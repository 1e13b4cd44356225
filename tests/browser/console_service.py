"""A gateway with an operator's key, and what a test of the console does to it: started with the project's environment.

Prints one JSON line when it serves. Then each line on its standard input is a command, `[name, arguments]`, which is
answered with a JSON line; it ends with its input.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import requests

from tests.e2e.gateway_pool import ADMIN_KEY, SECOND_KEY
from tests.e2e.harness import DEADLINE_S, KEY, Upstream, ask, end, start_gateway, wait_until

SETTINGS = {"PROXY_API_KEYS": f"second={SECOND_KEY}", "PROXY_MODEL_ALIASES": "fast=gpt-5.5"}


class Service:
    """The commands. `admin` is the operator's key of the gateway that runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._upstream = Upstream()
        self._port = "0"
        self._held: list[threading.Thread] = []
        self.start()

    def start(self, admin: str = ADMIN_KEY) -> None:
        settings = {**SETTINGS, "PROXY_ADMIN_KEY": admin, "PORT": self._port}
        self._gateway = start_gateway(self._folder, self._upstream, **settings)
        self._port = str(self._gateway.port)
        self._gateway.wait_ready()

    def facts(self) -> dict[str, str]:
        return {"url": self._gateway.url, "key": KEY, "admin": ADMIN_KEY, "second": SECOND_KEY}

    def play(self, script: Any) -> str:
        return self._upstream.play(script)

    def ask(self, marker: str, request_id: str, key: str = KEY, **more: Any) -> int:
        """Ask for a whole answer and return its status."""
        headers = {"Authorization": f"Bearer {key}", "X-Request-Id": request_id}
        url = f"{self._gateway.url}/v1/chat/completions"
        answer = requests.post(url, json=ask(marker, **more), headers=headers, timeout=DEADLINE_S)
        return answer.status_code

    def hold(self) -> str:
        """Begin a stream that the upstream holds, and return its marker once it is held."""
        marker = self.play({"items": [{"type": "message", "deltas": ["a", "b"]}], "hold_after": 1})
        thread = threading.Thread(target=self.ask, args=(marker, "held"), kwargs={"stream": True})
        thread.start()
        self._held.append(thread)
        self._upstream.control.wait("held", marker)
        return marker

    def release(self, marker: str) -> None:
        self._upstream.control.release(marker)

    def kill_child(self) -> int:
        """Kill the child and return its pid, without waiting for the next one."""
        child = self._gateway.child()
        child.kill()
        return child.pid

    def pid(self) -> int:
        found: int = wait_until(lambda: self._gateway.child().pid, "there is a child")
        return found

    def stop(self) -> int:
        return self._gateway.stop()

    def close(self) -> None:
        for thread in self._held:
            thread.join(DEADLINE_S)
        end(self._gateway)
        wait_until(lambda: self._gateway.process.poll() is not None, "it has ended")
        self._upstream.close()


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        try:
            print(json.dumps(service.facts()), flush=True)  # noqa: T201  (its protocol)
            for line in sys.stdin:
                name, arguments = json.loads(line)
                answer = getattr(service, name)(**arguments)
                print(json.dumps(answer), flush=True)  # noqa: T201
        finally:
            service.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
