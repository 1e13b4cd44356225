"""The real codex in front of the scripted upstream: what the script says is what codex hears."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from codex_cli_bin import bundled_codex_path

from scripted_upstream.client import Control

CONFIG = """\
model = "gpt-5.5"
model_provider = "up"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.up]
name = "up"
base_url = "{url}"
wire_api = "responses"
env_key = "UP_KEY"
requires_openai_auth = false
supports_websockets = false
request_max_retries = 0
stream_max_retries = 0
"""

Run = Callable[[str], tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def codex(upstream_url: str, tmp_path: Path) -> Run:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (home / "config.toml").write_text(CONFIG.format(url=upstream_url))
    environment = {"CODEX_HOME": str(home), "UP_KEY": "sk-test", "PATH": os.environ["PATH"]}
    command = [str(bundled_codex_path()), "exec", "--json", "--ephemeral", "--skip-git-repo-check"]

    def run(prompt: str) -> tuple[int, list[dict[str, Any]]]:
        done = subprocess.run(
            [*command, prompt],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    return run


def spoken(events: list[dict[str, Any]]) -> list[str]:
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item["text"] for item in items if item["type"] == "agent_message"]


def test_codex_hears_a_text_and_its_usage(codex: Run, control: Control, marker: str) -> None:
    usage = {"input_tokens": 50, "cached_tokens": 40, "output_tokens": 9, "reasoning_tokens": 3}
    items = [
        {"type": "reasoning", "summary_deltas": ["thin", "king"], "encrypted_content": "opaque"},
        {"type": "message", "deltas": ["Grü", "ße ", "✓"]},
    ]
    control.script(marker, {"items": items, "usage": usage, "split": "bytes", "seed": 1})
    code, events = codex(f"say {marker}")
    assert code == 0
    assert spoken(events) == ["Grüße ✓"]
    reported = events[-1]["usage"]
    assert (reported["input_tokens"], reported["cached_input_tokens"]) == (50, 40)
    assert (reported["output_tokens"], reported["reasoning_output_tokens"]) == (9, 3)
    (record,) = control.requests(marker)
    assert record["outcome"] == "completed"
    assert record["headers"]["authorization"] == "<present>"


def test_codex_answers_an_unknown_tool_itself_and_asks_again(
    codex: Run, control: Control, marker: str
) -> None:
    call = {"type": "function_call", "name": "nope", "arguments": "{}", "call_id": "call_1"}
    control.script(marker, [{"items": [call]}, {"items": [{"type": "message", "text": "well"}]}])
    code, events = codex(f"say {marker}")
    assert (code, spoken(events)) == (0, ["well"])
    output = control.requests(marker)[1]["body"]["input"][-1]
    assert (output["type"], output["call_id"]) == ("function_call_output", "call_1")
    assert "unsupported call: nope" in output["output"]


def test_codex_reports_a_rate_limit(codex: Run, control: Control, marker: str) -> None:
    control.script(marker, {"failure": "rate_limited"})
    code, events = codex(f"say {marker}")
    assert code == 1
    assert events[-1]["type"] == "turn.failed"
    assert "429" in events[-1]["error"]["message"]
