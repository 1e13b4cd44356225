"""Prometheus of the Debian package as a process, asked over its HTTP API."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import requests

from tests.e2e.harness import DEADLINE_S, wait_until
from tests.e2e.replicas import free_port


class Prometheus:
    """A server with this configuration; its data and its log are beside that."""

    def __init__(self, config: Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        with (config.parent / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={config.parent / 'data'}",
                    f"--web.listen-address={address}",
                ],
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        ready = f"{self.url}/-/ready"
        wait_until(lambda: requests.get(ready, timeout=DEADLINE_S).ok, "Prometheus serves")

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of `/api/v1`."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=DEADLINE_S)
        assert answer.status_code == 200, f"{path} {parameters}: {answer.text}"
        return answer.json()["data"]

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of a query."""
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def fired(self) -> set[str]:
        """Every alert that fired at any time."""
        return self._named('count_over_time(ALERTS{alertstate="firing"}[10m])')

    def firing(self) -> set[str]:
        """Every alert that fires now."""
        return self._named('ALERTS{alertstate="firing"}')

    def pending(self) -> set[str]:
        """Every alert that will fire, if what it watches stays so for as long as it is patient."""
        return self._named('ALERTS{alertstate="pending"}')

    def _named(self, expr: str) -> set[str]:
        return {series["metric"]["alertname"] for series in self.ask(expr)}

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_S)
