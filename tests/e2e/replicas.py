"""Two gateways that share Redis, and Debian's nginx in front with the files of deploy/nginx."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import requests

from tests.e2e.harness import (
    DEADLINE_S,
    ROOT,
    Gateway,
    Upstream,
    end,
    start_gateway,
    wait_until,
)
from tests.fakes.redis_server import RedisServer

SAMPLES = ROOT / "deploy" / "nginx"
MAIN = """
user root;
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/codex-gateway.conf;
}}
"""


class Nginx:
    """nginx with the sample files, but for addresses, paths and `changes`: what stands there, and what is to."""

    def __init__(
        self, folder: Path, ports: list[int], changes: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._ports = ports
        self.port = free_port()
        text = (SAMPLES / "codex-gateway.conf").read_text()
        text = text.replace("listen 80 default_server", f"listen 127.0.0.1:{self.port}")
        text = text.replace("/etc/nginx/", f"{folder}/")
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        (folder / "codex-gateway.conf").write_text(text)
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        self._write_replicas(out=())
        self._process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")])
        wait_until(self._listens, "nginx listens")

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "error.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _write_replicas(self, out: tuple[int, ...]) -> None:
        text = (SAMPLES / "codex-gateway-replicas.conf").read_text()
        for number, port in enumerate(self._ports):
            down = " down" if number in out else ""
            line = f"127.0.0.1:{port}{down} "
            text = text.replace(f"127.0.0.1:{11435 + number} ", line)
        (self._folder / "codex-gateway-replicas.conf").write_text(text)

    def take_out(self, *numbers: int) -> None:
        """Send nothing more to these replicas, and to all others. Blocks until no worker knows it otherwise."""
        self._write_replicas(out=numbers)
        master = psutil.Process(self._process.pid)
        old = {worker.pid for worker in master.children()}
        self._process.send_signal(signal.SIGHUP)
        wait_until(lambda: all_told(master, old), "the old workers take no requests")

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE_S)


def all_told(master: psutil.Process, old: set[int]) -> bool:
    """Whether there are new workers, and the old ones only finish what they have."""
    workers = master.children()
    names = [" ".join(worker.cmdline()) for worker in workers if worker.pid in old]
    is_new = any(worker.pid not in old for worker in workers)
    return is_new and all("shutting down" in name or not name for name in names)


class Replicas:
    """Two gateways and what they share. `front` is a gateway whose port is nginx's."""

    def __init__(self, folder: Path, upstream: Upstream, **settings: str) -> None:
        self._folder = folder
        self._upstream = upstream
        self._stack = ExitStack()
        redis = RedisServer(folder)
        redis.start()
        self._stack.callback(redis.kill)
        self._settings = {
            "PROXY_RATE_LIMIT_STORAGE": redis.url,
            "PROXY_RESPONSE_STORE": redis.url,
            "PROXY_RATE_LIMIT": "100000/hour",
            **settings,
        }
        with ThreadPoolExecutor(2) as both:
            self.gateways = list(both.map(self._start, ("one", "two")))
        self.nginx = Nginx(folder / "nginx", [gateway.port for gateway in self.gateways])
        self._stack.callback(self.nginx.close)

    @property
    def front(self) -> Gateway:
        return replace(self.gateways[0], port=self.nginx.port)

    def _start(self, name: str, port: int = 0) -> Gateway:
        folder = self._folder / name
        folder.mkdir()
        gateway = start_gateway(folder, self._upstream, PORT=str(port), **self._settings)
        self._stack.callback(end, gateway)
        gateway.wait_ready()
        return gateway

    def begin_to_stop(self, number: int) -> None:
        """Send TERM as an operator does. Blocks until the replica is not ready any more; what it has goes on."""
        gateway = self.gateways[number]
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_ready(gateway), "it drains")
        assert gateway.process.poll() is None

    def replace(self, number: int) -> int:
        """Wait for the end of a replica, and start another one in its place; return its exit code."""
        old = self.gateways[number]
        code = old.process.wait(DEADLINE_S)
        self.gateways[number] = self._start(f"{number}-again", old.port)
        return code

    def kill(self, number: int) -> None:
        """End a replica with all of its processes at once, as a power cut does."""
        gateway = self.gateways[number]
        family = [gateway.master(), *gateway.master().children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        gateway.process.wait(DEADLINE_S)
        _, alive = psutil.wait_procs(
            family[1:], DEADLINE_S
        )  # until then the kernel takes connections
        assert alive == []

    def answerers(self, answers: list[requests.Response]) -> list[int]:
        """Return the number of the replica that gave each answer, by their logs."""
        asked = [answer.headers["X-Request-Id"] for answer in answers]
        gave: dict[str, int] = {}

        def are_known() -> bool:
            for number, gateway in enumerate(self.gateways):
                gave.update({line["request_id"]: number for line in gateway.events("request")})
            return gave.keys() >= set(asked)

        wait_until(are_known, "every line is written")
        return [gave[request_id] for request_id in asked]

    def close(self) -> None:
        self._stack.close()


def is_ready(gateway: Gateway) -> bool:
    try:
        return gateway.get("/readyz").ok
    except requests.ConnectionError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
