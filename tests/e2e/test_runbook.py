"""The runbook, typed: each command of it runs where the fault of its entry was provoked, and finds something to say."""

from __future__ import annotations

import inspect
import json
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e import forward_auth
from tests.e2e.caddy import Caddy
from tests.e2e.harness import DEADLINE_S, KEY, ROOT, Gateway, Upstream, ask, end, wait_until
from tests.e2e.mix import Mix
from tests.e2e.monitoring import METRICS_TOKEN, hurried, knows
from tests.e2e.prometheus import Prometheus
from tests.e2e.raw_http import request_bytes
from tests.e2e.reloading import Site, hup
from tests.e2e.replicas import Nginx, free_port
from tests.e2e.runbook import Shell, entries
from tests.e2e.trouble import Trouble
from tests.fakes.redis_server import PASSWORD, RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ADMIN = "admin-8kW1qR4zM7vE3sJ6"
ELSEWHERE = {"Traefik sends requests elsewhere", "Roll a release back"}
"""Entries that are not typed here: Docker and Traefik are not there, and `test_deployment.py` rehearses the second."""
PRIVATE_IMAGE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}


@dataclass
class Scene:
    """A service in a checkout of its own, what stands around it, and a shell beside it."""

    site: Site
    stack: ExitStack
    gateway: Gateway = field(init=False)
    variables: dict[str, str] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    """Commands that find nothing here."""

    def __post_init__(self) -> None:
        (self.site.folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        for name in ("docs", "scripts"):
            (self.site.folder / name).symlink_to(ROOT / name)

    def start(self, *, ready: bool = True, **settings: str) -> Gateway:
        self.site.set(PROXY_ADMIN_KEY=ADMIN, PROXY_METRICS_TOKEN=METRICS_TOKEN, **settings)
        self.gateway = self.site.start()
        self.stack.callback(end, self.gateway)
        if ready:
            self.gateway.wait_ready()
        self.variables |= {
            "PATH": os.environ["PATH"],
            "HOME": str(self.site.folder),
            "BASE": self.gateway.url,
            "PROXY_API_KEY": KEY,
            "PROXY_ADMIN_KEY": ADMIN,
            "PROXY_METRICS_TOKEN": METRICS_TOKEN,
            "CODEX_HOME": str(self.gateway.home),
            "LOG": str(self.gateway.log_path),
        }
        return self.gateway

    def watch(self) -> Prometheus:
        folder = self.site.folder / "prometheus"
        folder.mkdir()
        prometheus = Prometheus(hurried(folder, self.gateway))
        self.stack.callback(prometheus.close)
        prometheus.wait_ready()
        self.variables["PROM"] = prometheus.url
        wait_until(lambda: prometheus.ask("codex_worker_ready"), "the first scrape")
        return prometheus

    def traces(self) -> list[Any]:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        url = f"{self.gateway.url}/internal/traces"
        found: list[Any] = requests.get(url, headers=headers, timeout=DEADLINE_S).json()["traces"]
        return found

    def follow(self, heading: str, *numbers: int) -> None:
        shell = Shell(self.site.folder, self.variables, self.instead, frozenset(self.silent))
        shell.follow(heading, *numbers)


@pytest.fixture
def scene(tmp_path: Path, upstream: Upstream) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(Site(tmp_path / "site", upstream), stack)


# Each function provokes a fault and follows the entries of it.


def nothing_is_wrong(scene: Scene) -> None:
    gateway = scene.start()
    scene.watch()
    answer = gateway.post(ask(scene.site.upstream.say("a", "b", "c"), stream=True))
    scene.instead |= {
        "req_[0-9a-f]{32}": answer.headers["X-Request-Id"],
        r"2026-12-01T10:00:00Z": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
    }
    store_an_answer(scene)
    wait_until(scene.traces, "its trace is written")
    for heading in (
        "Operational runbook",
        "Maintenance: turn clients away for a while",
        "Capture a trace",
        "A page in a browser cannot call",
        "Answers are not stored",
        "CodexGatewayDown",
        "CodexMaintenanceTooLong",
        "CodexFirstTokenSlow",
    ):
        scene.follow(heading)


def settings_are_wrong(scene: Scene) -> None:
    gateway = scene.start()
    scene.follow("The service does not start: bad settings")
    scene.variables["PORT"] = str(gateway.port)
    scene.follow("The service does not start: port in use")
    scene.site.set(LOG_LEVEL="loud")
    hup(gateway)
    wait_until(lambda: gateway.events("reload_refused"), "it is refused")
    scene.follow("A reload does not happen")


def the_child_cannot_start(scene: Scene) -> None:
    gateway = scene.start(ready=False, CODEX_BIN=str(scene.site.folder / "nowhere"))
    refused = lambda: gateway.health()["last_exit"]  # noqa: E731
    wait_until(refused, "it has been tried")
    scene.follow("CodexChildDegraded")
    scene.follow("The child does not start", 0)
    scene.site.codex("nowhere")
    gateway.wait_ready()
    scene.follow("The child does not start", 1)


def the_upstream_is_down(scene: Scene) -> None:
    address = f"http://127.0.0.1:{free_port()}/v1"
    gateway = scene.start(CODEX_UPSTREAM_URL=address)
    scene.variables["CODEX_UPSTREAM_URL"] = address
    assert gateway.post(ask("anybody?")).status_code == 502
    wait_until(lambda: gateway.events("upstream_unreachable"), "it has been looked at")
    for heading in (
        "The upstream cannot be reached",
        "502 UPSTREAM_ERROR",
        "CodexUpstreamFailing",
    ):
        scene.follow(heading)


def the_login_is_refused(scene: Scene) -> None:
    gateway = scene.start()
    refused = gateway.post(ask(scene.site.upstream.play({"failure": "invalid_api_key"})))
    assert refused.status_code == 503
    (scene.site.folder / "key.txt").write_text("sk-of-nobody\n")
    scene.follow("503 UPSTREAM_AUTH: the login is missing or refused")


def redis_is_gone(scene: Scene) -> None:
    redis = RedisServer(scene.site.folder)
    redis.start()
    gateway = scene.start(PROXY_RATE_LIMIT_STORAGE=redis.url, PROXY_RATE_LIMIT="60/minute")
    assert gateway.post(ask(scene.site.upstream.say("a"))).ok
    scene.instead[r"-h <host> -a <password>"] = f"-s {redis.socket} -a {PASSWORD}"
    scene.follow("The limits of keys do not hold")
    redis.kill()
    assert gateway.post(ask(scene.site.upstream.say("a"))).ok
    scene.follow("CodexRateLimitStoreLost")


def everything_happens_at_once(scene: Scene) -> None:
    gateway = scene.start(
        PROXY_SSE_KEEPALIVE_MS="50",
        PROXY_SEND_TIMEOUT_MS="1000",
        WORKER_MAX_CONCURRENCY="16",
        WORKER_QUEUE_TIMEOUT_MS="1000",
        WORKER_REQUEST_TIMEOUT_MS="8000",
        WORKER_BACKOFF_INITIAL_MS="250",
        WORKER_BACKOFF_MAX_MS="250",
    )
    prometheus = scene.watch()
    mix, trouble = Mix(gateway, scene.site.upstream), Trouble(gateway, scene.site.upstream)
    for _ in range(2):  # a rate needs two scrapes
        mix.run(2 * len(mix.kinds))
        trouble.all_of_it()
        wait_until(knows(prometheus, gateway), "it is scraped")
    scene.silent.add("dmesg | grep -i oom | tail -3")  # nobody is short of memory
    gateway.post(ask("x") | {"messages": [{"role": "user", "content": [PRIVATE_IMAGE]}]})
    nobody_reads(gateway, scene.site.upstream)
    for heading in (
        "504 WORKER_TIMEOUT",
        "429",
        "400 invalid_image_url",
        "Connections are cut",
        "Alerts",
        "CodexGatewayFailing",
        "CodexChildRestarting",
        "CodexUpstreamSilent",
        "CodexUpstreamRateLimits",
        "CodexAccountNearlySpent",
        "CodexQueueSaturated",
        "CodexRequestsTurnedAway",
        "CodexStreamsFailing",
        "CodexClientsLeaving",
        "CodexSlowReaders",
        "CodexKeysRefused",
    ):
        scene.follow(heading)


def nobody_reads(gateway: Gateway, upstream: Upstream) -> None:
    """Ask for a stream of 6 MB, take none of it, and wait until it is given up."""
    long = {"items": [{"type": "message", "text": "x" * 60_000, "chunk": 60_000, "repeat": 100}]}
    body = json.dumps(ask(upstream.play(long), stream=True)).encode()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(request_bytes("POST", "/v1/chat/completions", body))
        is_over = lambda: "slow_reader" in {o.get("outcome") for o in gateway.events("request")}  # noqa: E731
        wait_until(is_over, "it is given up", 60)


def files_run_out(scene: Scene) -> None:
    gateway = scene.start()
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (400, 400))
    hup(gateway)
    wait_until(lambda: gateway.events("descriptors_short"), "it is told")
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(request_bytes("GET", "/livez", Connection="keep-alive"))
        assert client.recv(4096)
        scene.follow("CodexConnectionsCut")


def the_gateway_has_a_defect(scene: Scene) -> None:
    with (scene.site.folder / "wsgi.py").open("a") as code:
        code.write("app.add_url_rule('/v1/broken', view_func=lambda: 1 / 0)\n")
    gateway = scene.start()
    assert gateway.get("/v1/broken").status_code == 500
    scene.follow("CodexInternalErrors")


def the_child_grows(scene: Scene) -> None:
    gateway = scene.start(WORKER_MEMORY_LIMIT_BYTES=str(1 << 26))  # less than any child needs
    prometheus = scene.watch()
    wait_until(lambda: gateway.events("child_replaced"), "another took its place", 60)
    growth = "deriv(codex_worker_resident_bytes[15m])"
    wait_until(lambda: prometheus.ask(growth), "two scrapes saw it")
    scene.follow("CodexChildGrowing")
    scene.follow("CodexChildLarge")


def the_proxy_finds_nobody(scene: Scene) -> None:
    gateway = scene.start()
    patience = {"proxy_read_timeout 1860s": "proxy_read_timeout 1s"}
    nginx = Nginx(scene.site.folder / "nginx", [gateway.port], patience)
    scene.stack.callback(nginx.close)
    scene.variables["EDGE"] = f"http://127.0.0.1:{nginx.port}"
    scene.instead["/var/log/nginx/error.log"] = str(scene.site.folder / "nginx" / "error.log")
    marker = scene.site.upstream.play({"hold_before_headers": True})
    assert replace(gateway, port=nginx.port).post(ask(marker)).status_code == 504
    wait_until(lambda: gateway.events("request"), "the gateway has seen it leave")
    scene.follow("502 or 504 from the edge proxy", 1)
    assert gateway.stop() == 0
    scene.follow("502 or 504 from the edge proxy", 0)


def forward_auth_lost_the_key(scene: Scene) -> None:
    gateway = scene.start()
    folder = scene.site.folder / "sidecar"
    folder.mkdir()
    sidecar = forward_auth.start(folder, "PROXY_API_KEY=another-key-0123456789abcdef\n")
    scene.stack.callback(sidecar.stop)
    caddy = Caddy(
        scene.site.folder / "caddy",
        "Caddyfile.forward-auth",
        {
            "127.0.0.1:11435": f"127.0.0.1:{gateway.port}",
            "127.0.0.1:18080": f"127.0.0.1:{sidecar.port}",
        },
    )
    scene.stack.callback(caddy.close)
    scene.variables |= {"AUTH": sidecar.url, "EDGE": f"http://127.0.0.1:{caddy.port}"}
    scene.instead["/path/to/the/sidecar.log"] = str(folder / "log")
    scene.follow("ForwardAuth refuses everybody", 0)
    sidecar.write("PROXY_API_KEYS=no name\n")
    wait_until(lambda: sidecar.ask(KEY).status_code == 503, "nothing can be read")
    scene.follow("ForwardAuth refuses everybody", 1)


def the_disk_is_full(scene: Scene) -> None:
    home = mounted(scene, "codex-home", "24m")
    gateway = scene.start()
    filler = fill(home)
    for _ in range(2):
        assert gateway.post(ask(scene.site.upstream.say("a"))).ok
    store_an_answer(scene)
    wait_until(lambda: gateway.events("traces_not_written"), "of traces it is told")
    wait_until(lambda: gateway.events("answer_store_failed"), "of answers, too")
    scene.follow("The disk is full")
    filler.unlink()


def the_log_cannot_be_written(scene: Scene) -> None:
    folder = mounted(scene, "logs", "1m")
    (scene.site.folder / "gateway.log").symlink_to(folder / "gateway.log")
    gateway = scene.start()
    filler = fill(folder)
    for _ in range(20):
        assert gateway.post(ask(scene.site.upstream.say("a"))).ok
    filler.unlink()

    def is_told() -> bool:
        assert gateway.post(ask(scene.site.upstream.say("a"))).ok
        return "log_lines_dropped" in gateway.log_path.read_text()

    wait_until(is_told, "what is missing is told")
    scene.follow("CodexLogLinesLost")


def store_an_answer(scene: Scene) -> None:
    body = {"model": "gpt-5.5", "input": f"[{scene.site.upstream.say('b')}]"}
    url, headers = f"{scene.gateway.url}/v1/responses", scene.gateway.headers
    assert requests.post(url, json=body, headers=headers, timeout=DEADLINE_S).ok


def mounted(scene: Scene, name: str, size: str) -> Path:
    """Return a folder of the site with a file system of its own, which is small."""
    folder = scene.site.folder / name
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    scene.stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
    return folder


def fill(folder: Path) -> Path:
    """Write a file until there is no room left; return it."""
    path = folder / "filler"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return path


SCENES: list[Callable[[Scene], None]] = [
    nothing_is_wrong,
    settings_are_wrong,
    the_child_cannot_start,
    the_upstream_is_down,
    the_login_is_refused,
    redis_is_gone,
    everything_happens_at_once,
    files_run_out,
    the_gateway_has_a_defect,
    the_child_grows,
    the_proxy_finds_nobody,
    forward_auth_lost_the_key,
    the_disk_is_full,
    the_log_cannot_be_written,
]


@pytest.mark.parametrize("provoke", SCENES)
def test_each_command_finds_what_it_looks_for(
    provoke: Callable[[Scene], None], scene: Scene
) -> None:
    provoke(scene)


def test_no_entry_is_left_out() -> None:
    """By the headings that stand in the functions above."""
    followed = set(re.findall(r'"([^"\n]+)"', "".join(map(inspect.getsource, SCENES))))
    assert set(entries()) - followed == ELSEWHERE
