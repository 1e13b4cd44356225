"""The commands as an operator types them: processes, with settings and a CODEX_HOME of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT, VARIABLES

KEY = "sk-cli-test-client-key-0123456789"
FAKE = ROOT / "tests" / "fakes" / "app_server.py"


@dataclass
class Operator:
    """Somebody at a shell. `settings` are on top of a key and a CODEX_HOME; no `.env` reaches a command."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    app: str = "wsgi"

    @property
    def home(self) -> Path:
        return self.folder / "codex-home"

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        nothing = {variable.metadata["name"]: "" for variable in VARIABLES}
        return {
            **nothing,
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FLASK_SKIP_DOTENV": "1",
            "PROXY_API_KEY": KEY,
            "CODEX_HOME": str(self.home),
            **self.settings,
            **settings,
        }

    def types(
        self, *arguments: str, given: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `.venv/bin/flask --app wsgi codex …` to its end; `given` is its standard input."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", self.app, "codex", *arguments],
            cwd=ROOT,
            env=self.environment(settings),
            input=given,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert KEY not in said
        return done

    def json(self, *arguments: str, **settings: str) -> Any:
        return json.loads(self.types(*arguments, "--json", **settings).stdout)

    def examine(self, *options: str, **settings: str) -> dict[str, dict[str, str]]:
        """Return the doctor's results by name."""
        found = self.json("doctor", *options, **settings)
        results = {result["name"]: result for result in found["checks"]}
        failed = [name for name, result in results.items() if result["level"] == "fail"]
        assert found["healthy"] is (not failed)
        return results


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, {"PORT": "0"})


@pytest.fixture
def upstream_port() -> Iterator[int]:
    """A server that stands for an upstream: any answer of its will do for the doctor."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


FakeCodex = Callable[..., Path]


@pytest.fixture
def fake_codex(tmp_path: Path) -> FakeCodex:
    """A binary for CODEX_BIN: the scripted app-server, told what to answer, that logs in or refuses as asked."""

    def make(answers: dict[str, Sequence[Any]] | None = None, *, login: int = 0) -> Path:
        on = {method: [list(steps)] for method, steps in (answers or {}).items()}
        scenario = json.dumps({"on": on, "journal": str(tmp_path / "journal")})
        path = tmp_path / "codex"
        path.write_text(
            f"#!{sys.executable}\n"
            "import os, sys\n"
            "words = sys.argv[1:]\n"
            "if 'app-server' in words:\n"
            f"    os.execv({sys.executable!r}, [{sys.executable!r}, {str(FAKE)!r}, {scenario!r}])\n"
            "if 'debug' in words: print('{\"models\": [{}]}')\n"
            f"if 'login' in words: sys.exit({login})\n"
        )
        path.chmod(0o755)
        return path

    return make
