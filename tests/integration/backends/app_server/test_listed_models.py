"""Models that the upstream lists: a child that could not be replaced for their sake is replaced later."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from codex_cli_bin import bundled_codex_path

from app.backends.app_server.backend import AppServerBackend
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.launch import Launcher
from app.process.supervisor import REPLACE_PAUSE_S
from tests.fakes.engines import LIMITS, MODEL, AppServerEngine
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, result

FAILS_ONCE = """#!/bin/sh
# codex, whose second start as a server fails.
if [ "$1" = app-server ]; then
    echo started >> {starts}
    [ "$(wc -l < {starts})" -ne 2 ] || exit 1
fi
exec {codex} "$@"
"""


def test_a_list_outlives_a_replacement_that_failed(
    upstream_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home, binary = Home(tmp_path / "home"), tmp_path / "codex"
    binary.write_text(
        FAILS_ONCE.format(starts=tmp_path / "starts", codex=bundled_codex_path()), encoding="utf-8"
    )
    binary.chmod(0o755)
    home.prepare()
    kept = {"url": upstream_url, "models": ["of-long-ago"]}
    (home.private / "upstream-models.json").write_text(json.dumps(kept), encoding="utf-8")
    upstream = Upstream(UpstreamKind.CONFIGURED, upstream_url, has_key=True)
    launcher = Launcher(home, binary, upstream, "key", 300_000, model_words=("auto",))
    limits = replace(LIMITS, probe_interval_ms=50)
    codex = AppServerEngine(AppServerBackend(launcher, limits, "0.0.0"))
    caplog.set_level(logging.INFO)
    running = in_background(codex.backend.run)
    try:
        assert codex.supervisor.wait_ready(DEADLINE_S)
        assert [model.id for model in codex.models()] == ["of-long-ago"]
        eventually(lambda: "child_not_replaced" in caplog.messages)
        # The supervisor lets some time pass before it tries again.
        eventually(
            lambda: [model.id for model in codex.models()] == [MODEL],
            within_s=REPLACE_PAUSE_S + DEADLINE_S,
        )
        assert codex.health().restarts == 0
    finally:
        with deadline():
            codex.backend.stop()
        assert result(running) is None
