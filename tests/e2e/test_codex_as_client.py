"""The codex CLI with this gateway as its provider: it does a whole task with its own tools through it."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codex_cli_bin import bundled_codex_path

from app.answers.tools import alias_of
from tests.e2e.harness import KEY, MODEL, Gateway, Upstream, wait_until
from tests.e2e.websockets import await_nothing_left
from tests.fakes.accounts import token

PATCH = "*** Begin Patch\n*** Add File: patched.txt\n+hello \u00e9\n*** End Patch\n"
THOUGHT = {"type": "reasoning", "summary_deltas": ["hm"], "sealed": "opaque"}
DONE = {"type": "message", "deltas": ["do", "ne"], "phase": "final_answer"}


def called(name: str, call_id: str, **arguments: str) -> dict[str, Any]:
    """A call as the model makes it, which knows a tool of codex's by another name."""
    item = {"type": "function_call", "name": alias_of(name), "call_id": call_id}
    return {**item, "arguments": json.dumps(arguments)}


def run_codex(
    gateway: Gateway,
    folder: Path,
    task: str,
    *options: str,
    provider_name: str = "gateway",
    websockets: bool = False,
) -> list[dict[str, Any]]:
    """Run `codex exec` in `folder / "work"`, and return the events that it prints."""
    home, work = folder / "home", folder / "work"
    home.mkdir(exist_ok=True)
    work.mkdir()
    provider = (
        f'{{name="{provider_name}",base_url="{gateway.url}/v1",env_key="GATEWAY_KEY",'
        f'wire_api="responses",supports_websockets={str(websockets).lower()}}}'
    )
    done = subprocess.run(
        [
            *(str(bundled_codex_path()), "exec", "--json", "--skip-git-repo-check"),
            *("--dangerously-bypass-approvals-and-sandbox", "-m", MODEL),
            *("-c", 'model_provider="gateway"', "-c", f"model_providers.gateway={provider}"),
            *options,
            task,
        ],
        cwd=work,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CODEX_HOME": str(home),
            "GATEWAY_KEY": KEY,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_codex_runs_its_tools_through_the_gateway(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    marker = upstream.play(
        [
            {"items": [THOUGHT, called("exec_command", "call_1", cmd="echo made | tee made.txt")]},
            {"items": [called("apply_patch", "call_2", input=PATCH)]},
            {"items": [DONE]},
        ]
    )
    before = len(lines_of(gateway))
    events = run_codex(gateway, tmp_path, f"Make two files. {marker}")
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    kinds = [item["type"] for item in items]
    assert kinds == ["reasoning", "command_execution", "file_change", "agent_message"]
    assert items[-1]["text"] == "done"
    assert (tmp_path / "work" / "made.txt").read_text() == "made\n"
    assert (tmp_path / "work" / "patched.txt").read_text() == "hello \u00e9\n"
    *_, last = upstream.control.requests(marker)
    thought, first, result, second, patched = last["body"]["input"][-5:]
    assert thought["type"] == "reasoning"
    assert (first["call_id"], result["call_id"]) == ("call_1", "call_1")
    assert "made" in json.dumps(result["output"])
    assert json.loads(second["arguments"]) == {"input": PATCH}
    assert "patched.txt" in json.dumps(patched["output"])
    wait_until(
        lambda: kept_threads(lines_of(gateway)[before:])[-3:] == ["first", "kept", "kept"],
        "it was one conversation, and its lines are written",
    )


def test_codex_compresses_its_requests_where_it_takes_the_gateway_for_openai(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    tokens = {"id_token": token("a"), "access_token": token("a"), "refresh_token": "r"}
    login = {
        "auth_mode": "chatgpt",
        "tokens": {**tokens, "account_id": "account"},
        "last_refresh": datetime.now(UTC).isoformat(),
    }
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "auth.json").write_text(json.dumps(login))
    marker = upstream.play([{"items": [DONE]}])
    options = ("--enable", "enable_request_compression", "--disable", "apps")
    before = len(lines_of(gateway))
    events = run_codex(gateway, tmp_path, f"Say it. {marker}", *options, provider_name="OpenAI")
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    assert items[-1]["text"] == "done"
    (*_, line) = wait_until(
        lambda: [line for line in lines_of(gateway)[before:] if "compressed_bytes" in line],
        "its line is written",
    )
    assert line["compressed_bytes"] < line["request_bytes"]


def test_codex_runs_its_tools_over_one_websocket(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    marker = upstream.play(
        [
            {"items": [THOUGHT, called("exec_command", "call_1", cmd="echo made | tee made.txt")]},
            {"items": [called("apply_patch", "call_2", input=PATCH)]},
            {"items": [DONE]},
        ]
    )
    before = len(lines_of(gateway))
    events = run_codex(gateway, tmp_path, f"Make two files. {marker}", websockets=True)
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    assert items[-1]["text"] == "done"
    assert (tmp_path / "work" / "patched.txt").read_text() == "hello \u00e9\n"
    await_nothing_left(gateway)
    lines = wait_until(lambda: up_to_its_connection(lines_of(gateway)[before:]), "all are written")
    assert [line["status"] for line in lines if "transport" not in line] == [101]
    messages = [line for line in lines if line.get("transport") == "websocket"]
    assert kept_threads(messages)[-3:] == ["first", "kept", "kept"]
    assert messages[-1]["request_bytes"] < messages[-3]["request_bytes"], "only what is new"
    *_, last = upstream.control.requests(marker)
    assert [it["type"] for it in last["body"]["input"][-5:]] == [
        *("reasoning", "function_call", "function_call_output"),
        *("function_call", "function_call_output"),
    ]


def up_to_its_connection(lines: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The lines, if that of the WebSocket is there, which is the last one."""
    return lines if lines and lines[-1]["status"] == 101 else None


def kept_threads(lines: list[dict[str, Any]]) -> list[str | None]:
    return [line.get("kept_thread") for line in lines]


def lines_of(gateway: Gateway) -> list[dict[str, Any]]:
    return [line for line in gateway.events("request") if line["route"] == "/v1/responses"]
