"""PROXY_ENV as an operator meets it: what keeps a service from starting, and what only gets a word in the log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.settings import VARIABLES
from tests.e2e.harness import KEY, ROOT, Gateway

WEAK = "changeme-changeme-changeme"


def test_production_does_not_start_with_what_is_unsafe_and_names_all_of_it(tmp_path: Path) -> None:
    environment = {variable.metadata["name"]: "" for variable in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
        cwd=ROOT,
        env={
            **environment,
            "PATH": os.environ["PATH"],
            "CODEX_HOME": str(tmp_path / "home"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PROXY_ENV": "prod",
            "PROXY_API_KEY": WEAK,
            "PROXY_ADMIN_KEY": WEAK,
            "PROXY_HOST": "0.0.0.0",
            "PROXY_TRUSTED_PROXIES": "*",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert [line.split(" ", 1)[0] for line in said.splitlines()] == [
        "PROXY_API_KEY",
        "PROXY_ADMIN_KEY",
        "PROXY_ADMIN_KEY",
        "PROXY_TRUSTED_PROXIES",
    ]
    assert WEAK not in said
    assert not (tmp_path / "home").exists()


def advised(gateway: Gateway) -> list[str]:
    return [entry["setting"] for entry in gateway.events("setting_advice")]


def test_production_says_what_is_allowed_and_perhaps_not_meant(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(PROXY_ENV="prod", LOG_LEVEL="debug")
    names = ["PROXY_ADMIN_KEY", "PROXY_METRICS_TOKEN", "PROXY_CORS_ALLOWED_ORIGINS", "LOG_LEVEL"]
    assert advised(gateway) == names
    assert gateway.get("/internal/maintenance").status_code == 404
    assert KEY not in gateway.log_path.read_text()


def test_staging_starts_with_what_production_refuses_and_says_so(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(PROXY_ENV="staging", PROXY_ADMIN_KEY=WEAK)
    (found,) = gateway.events("setting_advice")
    assert (found["level"], found["setting"]) == ("warn", "PROXY_ADMIN_KEY")
    assert WEAK not in gateway.log_path.read_text()
