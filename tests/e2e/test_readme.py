"""What a newcomer pastes from the README, in a plain shell beside a gateway that nobody has configured."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import KEY, ROOT, Gateway

BLOCKS = re.findall(
    r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)
NOT_TRIED = ("make run", "codex login")
"""The one is what serves here, the other wants a person with an account."""
ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"LANG": "C"},
    {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
]


@pytest.mark.system  # curl
@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_the_readme_runs_as_pasted(make_gateway: Any, tmp_path: Path, shell: str) -> None:
    gateway: Gateway = make_gateway(with_upstream=False)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / ".env").write_text(f"PROXY_API_KEY={KEY}\n")
    tried = [block for block in BLOCKS if not any(words in block for words in NOT_TRIED)]
    assert len(tried) == len(BLOCKS) - len(NOT_TRIED)
    script = "set -e\n" + "echo\n".join(tried).replace(
        "127.0.0.1:11435", f"127.0.0.1:{gateway.port}"
    )
    for environment in ENVIRONMENTS:
        # What runs goes into a pipe, whose encoding is the locale's.
        done = subprocess.run(
            [shell],
            input=script.encode(),
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        printed = done.stdout.decode()
        assert "data: [DONE]\n" in printed
        assert "\nHello from the built-in demo upstream! You wrote:" in printed
        assert printed.endswith('{"status":"ready"}\n')
