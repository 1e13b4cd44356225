"""The last codex CLI that has `codex proto`, from npm's registry: downloaded once, outside the checkout."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.e2e.harness import MODEL

VERSION = "0.42.0"
_PACKAGE = f"@openai/codex@{VERSION}"
_TRIPLES = {"x86_64": "x86_64-unknown-linux-musl", "aarch64": "aarch64-unknown-linux-musl"}


def older_codex() -> Path:
    """Return the native binary. Blocks while npm downloads it; other test processes wait for that."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "codex-completions-api"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / f"codex-{VERSION}" / "codex"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            _download(binary)
    return binary


def proto_settings() -> dict[str, str]:
    """Return what has each turn spoken to in its dialect. Blocks as `older_codex` does."""
    return {
        "PROXY_USE_APP_SERVER": "false",
        "WORKER_PER_REQUEST_DIALECT": "proto",
        "CODEX_BIN": str(older_codex()),
        "CODEX_UPSTREAM_MODELS": f"codex,{MODEL}",
    }


def _download(binary: Path) -> None:
    binary.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        subprocess.run(
            ["npm", "pack", _PACKAGE, "--pack-destination", folder], check=True, cwd=folder
        )
        (packed,) = Path(folder).glob("*.tgz")
        part = Path(folder) / "codex"
        with tarfile.open(packed) as package:
            name = f"package/vendor/{_TRIPLES[platform.machine()]}/codex/codex"
            found = package.extractfile(name)
            assert found is not None
            part.write_bytes(found.read())
        part.chmod(0o755)
        part.replace(binary)
