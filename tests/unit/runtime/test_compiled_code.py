"""Compiled code is that of the text on the disk, whatever the folder holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT

PROGRAM = """
import importlib, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
module = importlib.import_module("app.runtime.compiled_code")
from pathlib import Path
module.keep_in(Path(sys.argv[2]))
module.keep_in(Path(sys.argv[2]))  # as at each HUP
import app.answers.sample as sample
print(json.dumps({
    "said": sample.say(), "hooks": sum(type(hook).__name__ == "_Hook" for hook in sys.path_hooks),
    "loader": type(sample.__loader__).__name__, "file": sample.say.__code__.co_filename,
}))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "app" / "runtime").mkdir(parents=True)
    (folder / "app" / "answers").mkdir()
    for name in ("app", "app/runtime", "app/answers"):
        (folder / name / "__init__.py").touch()
    source = (ROOT / "app" / "runtime" / "compiled_code.py").read_text()
    (folder / "app" / "runtime" / "compiled_code.py").write_text(source)
    say(folder, "one")
    return folder


def say(checkout: Path, word: str) -> None:
    """Write the module so that its size and the time of its change tell nothing."""
    path = checkout / "app" / "answers" / "sample.py"
    path.write_text(f"def say() -> str:\n    return {word!r}\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))


def run(checkout: Path, kept: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM, str(checkout), str(kept)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_second_start_compiles_nothing(checkout: Path, tmp_path: Path) -> None:
    kept = tmp_path / "home" / "compiled"
    first = run(checkout, kept)
    file = kept / "app.answers.sample"
    written = file.stat().st_mtime_ns
    assert first == {
        "said": "one",
        "hooks": 1,
        "loader": "_Loader",
        "file": str(checkout / "app" / "answers" / "sample.py"),
    }
    assert run(checkout, kept) == first
    assert file.stat().st_mtime_ns == written
    assert (kept.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert list(kept.glob("*.part")) == []
    assert list(checkout.rglob("__pycache__")) == []


def test_a_text_of_the_same_size_and_second_is_another_text(checkout: Path, tmp_path: Path) -> None:
    kept = tmp_path / "compiled"
    run(checkout, kept)
    say(checkout, "two")
    assert run(checkout, kept)["said"] == "two"
    assert run(checkout, kept)["said"] == "two"


def test_another_way_of_compiling_is_another_code(checkout: Path, tmp_path: Path) -> None:
    kept = tmp_path / "compiled"
    file = kept / "app.answers.sample"
    run(checkout, kept)
    before = file.read_bytes()
    run(checkout, kept, "-O")
    assert file.read_bytes() != before


@pytest.mark.parametrize("content", [b"", b"x" * 40, b"x" * 4000])
def test_a_file_that_is_none_is_made_anew(checkout: Path, tmp_path: Path, content: bytes) -> None:
    kept = tmp_path / "compiled"
    run(checkout, kept)
    file = kept / "app.answers.sample"
    file.write_bytes(content)
    assert run(checkout, kept)["said"] == "one"
    assert len(file.read_bytes()) not in {len(content), 0}


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_changed_byte_is_noticed(checkout: Path, tmp_path: Path, place: int) -> None:
    kept = tmp_path / "compiled"
    run(checkout, kept)
    file = kept / "app.answers.sample"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert run(checkout, kept)["said"] == "one"
    assert file.read_bytes() != content


def test_a_folder_that_cannot_be_made_stops_nothing(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run(checkout, tmp_path / "file" / "compiled")["said"] == "one"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_sources_of_somebody_else_are_not_loaded_from_a_folder_of_ours(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "app").chmod(0o500)
    assert run(checkout, tmp_path / "compiled")["loader"] == "SourceFileLoader"
