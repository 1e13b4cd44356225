"""The child is no way into the machine: what a model asks for, it does not get, and nothing happens."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.gateway_pool import EVERY_KEY
from tests.e2e.harness import KEY, ROOT, Gateway, Upstream, ask, wait_until


def function_call(name: str, **arguments: Any) -> dict[str, Any]:
    return {
        "type": "function_call",
        "name": name,
        "arguments": json.dumps(arguments),
    }


def custom_call(name: str, text: str) -> dict[str, Any]:
    return {
        "type": "custom_tool_call",
        "id": "ctc_1",
        "status": "completed",
        "call_id": "call_1",
        "name": name,
        "input": text,
    }


def patch(target: Path) -> str:
    return f"*** Begin Patch\n*** Add File: {target}\n+pwned\n*** End Patch\n"


def shell_item(target: Path) -> dict[str, Any]:
    return {
        "type": "local_shell_call",
        "id": "lsh_1",
        "call_id": "call_1",
        "status": "completed",
        "action": {"type": "exec", "command": ["touch", str(target)], "env": {}},
    }


ASKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "shell": lambda f: function_call("shell", command=["touch", str(f)]),
    "shell_command": lambda f: function_call("shell_command", command=f"touch {f}"),
    "exec_command": lambda f: function_call("exec_command", cmd=f"touch {f}"),
    "local_shell": shell_item,
    "container.exec": lambda f: function_call("container.exec", command=["touch", str(f)]),
    "apply_patch": lambda f: function_call("apply_patch", input=patch(f)),
    "apply_patch_custom": lambda f: custom_call("apply_patch", patch(f)),
    "exec_custom": lambda f: custom_call("exec", f"await tools.exec_command({{cmd:'touch {f}'}})"),
    "view_image": lambda _: function_call("view_image", path="/etc/passwd"),
    "read_file": lambda _: function_call("read_file", file_path="/etc/passwd"),
    "list_dir": lambda _: function_call("list_dir", dir_path="/"),
    "web_search": lambda _: function_call("web_search", query="x"),
    "web_search_call": lambda _: {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    },
    "update_plan": lambda _: function_call(
        "update_plan", plan=[{"step": "x", "status": "pending"}]
    ),
    "mcp": lambda f: function_call("mcp__server__touch", path=str(f)),
    "spawn_agent": lambda _: function_call("spawn_agent", message="x"),
    "request_user_input": lambda _: function_call("request_user_input", questions=[]),
}


@pytest.mark.parametrize("name", ASKS)
def test_a_tool_that_nobody_offered_does_nothing(
    gateway: Gateway, upstream: Upstream, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "pwned"
    child = gateway.child()
    reads = child.io_counters().read_chars
    marker = upstream.play(
        [
            {"items": [ASKS[name](target)]},
            {"items": [{"type": "message", "text": "No tool here."}]},
        ]
    )
    answer = gateway.post(ask(marker))
    assert answer.status_code == 200
    assert not target.exists()
    assert child.children(recursive=True) == []
    assert list((gateway.home / "gateway" / "workspace").iterdir()) == []
    bodies = [request["body"] for request in upstream.control.requests(marker)]
    assert all(body["tools"] == [] for body in bodies)
    assert "root:" not in json.dumps(bodies)
    assert child.io_counters().read_chars - reads < 5_000_000


def test_a_model_that_insists_on_tools_is_cut_off(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"items": [function_call("shell", command=["true"])]})
    answer = gateway.post(ask(marker))
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "UPSTREAM_ERROR"
    assert len(upstream.control.requests(marker)) < 10


def test_the_childs_environment_is_an_allow_list(lend_gateway: Any) -> None:
    gateway = lend_gateway(**EVERY_KEY)
    environment = gateway.child().environ()
    ours = {"PATH", "HOME", "CODEX_HOME", "TMPDIR", "SSL_CERT_FILE", "GATEWAY_UPSTREAM_KEY"}
    ours |= {"TOKIO_WORKER_THREADS", "_RJEM_MALLOC_CONF"}
    # codex sets variables of its own when it starts again under its own eyes.
    assert set(environment) <= ours | {"LANG", "LC_ALL", "TZ", "SSL_CERT_DIR"}
    assert not {KEY, *EVERY_KEY.values()} & {*environment.values()}
    assert environment["CODEX_HOME"] == str(gateway.home)


def test_no_secret_is_on_a_command_line(gateway: Gateway) -> None:
    for process in [gateway.master(), *gateway.master().children(recursive=True)]:
        line = " ".join(process.cmdline())
        assert KEY not in line
        assert "upstream-key" not in line


def test_the_child_has_its_own_session_and_no_descriptor_of_ours(gateway: Gateway) -> None:
    child, (worker,) = gateway.child(), gateway.workers()
    assert os.getsid(child.pid) == child.pid != os.getsid(worker.pid)
    ports = {c.laddr.port for c in child.net_connections() if c.status == psutil.CONN_LISTEN}
    assert gateway.port not in ports
    assert child.cwd() == str(gateway.home / "gateway" / "workspace")


def test_what_the_service_writes_is_below_codex_home_and_closed_to_others(
    make_gateway: Any, upstream: Upstream
) -> None:
    started = time.time()
    gateway = make_gateway()
    for _ in range(3):
        assert gateway.post(ask(upstream.say("x"))).status_code == 200
    while_it_runs = open_to_others(gateway.home)
    folder = gateway.home.parent
    assert gateway.stop() == 0
    assert {path.name for path in folder.iterdir()} == {"codex-home", "gateway.log"}
    assert while_it_runs <= {"installation_id"}
    assert stat.S_IMODE(gateway.home.stat().st_mode) == 0o700
    assert open_to_others(gateway.home) <= {"installation_id"}  # codex sets that one's mode itself
    assert written_since(ROOT / "app", started) == []


def open_to_others(home: Path) -> set[str]:
    """Names of the files and folders that somebody else could open if they could come near them."""
    return {
        path.name
        for path in home.rglob("*")
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077
    }


def written_since(folder: Path, moment: float) -> list[Path]:
    found = []
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.stat().st_mtime > moment:
            found.append(path)
        if path.is_dir():
            found += written_since(path, moment)
    return found


def test_a_foreign_config_is_refused_with_a_reason(make_gateway: Any, tmp_path: Path) -> None:
    home = tmp_path / "foreign-home"
    home.mkdir()
    (home / "config.toml").write_text("[mcp_servers.evil]\ncommand = 'touch'\n")
    gateway = make_gateway(ready=False, CODEX_HOME=str(home))
    wait_until(lambda: gateway.events("child_start_failed"), "the start is refused")
    health = wait_until(
        lambda: (h := gateway.get("/healthz").json())["child"]["last_exit"] and h, "a reason"
    )
    assert "config.toml" in health["child"]["last_exit"]["detail"]
    assert gateway.get("/readyz").status_code == 503
    assert gateway.codex_processes() == []


def test_the_log_database_keeps_nothing(gateway: Gateway, upstream: Upstream) -> None:
    gateway.post(ask(upstream.say("x")))
    database = sqlite3.connect(f"file:{gateway.home}/logs_2.sqlite?mode=ro", uri=True)
    before = database.execute("select count(*) from logs").fetchone()
    for _ in range(10):
        gateway.post(ask(upstream.say("x")))
    assert database.execute("select count(*) from logs").fetchone() == before
    database.close()
