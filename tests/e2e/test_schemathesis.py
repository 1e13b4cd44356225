"""Schemathesis, at the OpenAPI document of a running gateway: what it says is held against what comes back.

Thousands of requests, of this seed: what the document allows, what it does not, and each value at its bounds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import KEY, ROOT, Gateway

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

NOT_MADE = {
    # Unknown parameters are ignored and named, and others refused by what no schema says (a model that is not there).
    "negative_data_rejection",
    "positive_data_acceptance",
    # Flask's OPTIONS counts the methods of /v1/responses/<id> in those of /v1/responses/compact.
    "allow_header_conformance",
}
"""Checks of Schemathesis that are not made; all others are."""


def program() -> str:
    found = shutil.which("schemathesis", path=str(ROOT / ".venv-neighbours" / "bin"))
    assert found is not None
    return found


def test_nothing_comes_back_that_the_document_does_not_say(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = make_gateway()
    command = [
        *(program(), "run", f"{gateway.url}/openapi.json", "--no-color", "--seed", "20261130"),
        *("--header", f"Authorization: Bearer {KEY}", "--phases", "coverage,fuzzing"),
        *(
            "--checks",
            "all",
            "--exclude-checks",
            ",".join(sorted(NOT_MADE)),
            "--max-examples",
            "20",
        ),
        # It would switch maintenance on, and every request after that would be refused; and it speaks no WebSocket.
        *("--exclude-path-regex", "^/internal/maintenance"),
        *("--exclude-operation-id", "responses_connect"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert gateway.events("unforeseen_error") == []
    answered = [line for line in gateway.events("request") if line["outcome"] == "completed"]
    routes = {line["route"] for line in answered if line["status"] == 200}
    asked = {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/responses/compact"}
    assert routes >= asked, "some of them come to a turn"
