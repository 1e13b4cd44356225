"""The benchmark in its smallest form: every side answers right, and the cached share is that of a real child."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import ROOT

SMALLEST = "--concurrency 1,2 --requests 4 --requests-a-client 2 --rounds 1 --deltas 5 --flood 100"
LOOPS = "--loop-repeats 1 --loop-rounds 6 --most-loops 2"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file: Path = tmp_path_factory.mktemp("bench") / "figures.json"
    command = f"-m bench {SMALLEST} {LOOPS} --sides gateway,cold,warm,kept,exec --json {file}"
    done = subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "answers were complete and right" in done.stdout
    return json.loads(file.read_text())


def test_every_side_answers_right_in_every_cell(result: Any) -> None:
    assert list(result["cells"]) == ["c=1", "c=2"]
    for cell in result["cells"].values():
        assert cell["answers"] == dict.fromkeys(("gateway", "cold", "warm", "kept", "exec"), 4)
    streaming = {"gateway", "cold", "warm", "kept"}
    assert set(result["flood"]["answers"]) == streaming


def test_a_thread_that_is_kept_has_its_past_cached_and_a_cold_one_nothing(result: Any) -> None:
    assert list(result["loops"]) == ["one, streamed", "one, whole", "two at once"]
    for cell in result["loops"].values():
        assert cell["sides"]["kept"]["cached_share"] > 0.5
        assert cell["sides"]["cold"]["cached_share"] == 0
        for side in ("kept", "cold", "gateway"):
            figures = cell["sides"][side]
            assert figures["cached_share"] == pytest.approx(figures["told_share"], abs=0.01)


def test_what_a_round_costs_is_told_as_the_conversation_grows(result: Any) -> None:
    curves = result["loops"]["one, streamed"]["curves"]
    for curve in curves.values():
        assert len(curve["input_tokens"]) == 7
        assert curve["input_tokens"] == sorted(curve["input_tokens"])
