"""Asks the pinned binary once for what it knows of itself: its JSON schema and its model catalog."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from codex_cli_bin import bundled_codex_path

Codex = Callable[..., bytes]


@pytest.fixture(scope="session")
def codex(tmp_path_factory: pytest.TempPathFactory) -> Codex:
    home = tmp_path_factory.mktemp("codex-home")

    def run(*arguments: str) -> bytes:
        return subprocess.run(
            [bundled_codex_path(), *arguments],
            env={"CODEX_HOME": str(home)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=True,
        ).stdout

    return run


@pytest.fixture(scope="session")
def schema(codex: Codex, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return the schema file of that name, `v2/ModelListParams` say."""
    folder = tmp_path_factory.mktemp("schema")
    codex("app-server", "generate-json-schema", "--experimental", "--out", str(folder))
    return lambda name: json.loads(Path(folder, f"{name}.json").read_text())


@pytest.fixture(scope="session")
def bundled_catalog(codex: Codex) -> Any:
    return json.loads(codex("debug", "models", "--bundled"))
