"""What a binary printed is believed of the same file alone, and only as it was written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.codex.printed_catalog import PrintedCatalog

PRINTED = b'{"models": [{"slug": "m"}]}\nand\nmore'


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "codex"
    path.write_bytes(b"\x7fELF a program")
    return path


@pytest.fixture
def kept(tmp_path: Path, binary: Path) -> PrintedCatalog:
    kept = PrintedCatalog(tmp_path / "printed-catalog")
    kept.write(binary, PRINTED)
    return kept


def test_what_was_printed_is_found(kept: PrintedCatalog, binary: Path, tmp_path: Path) -> None:
    assert kept.read(binary) == PRINTED
    assert kept.file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"codex", "printed-catalog"}


def test_by_way_of_a_link_it_is_the_same_binary(kept: PrintedCatalog, binary: Path) -> None:
    link = binary.with_name("link")
    link.symlink_to(binary)
    assert kept.read(link) == PRINTED


def replaced(binary: Path) -> None:
    other = binary.with_name("other")
    other.write_bytes(binary.read_bytes())
    os.utime(other, ns=(binary.stat().st_atime_ns, binary.stat().st_mtime_ns))
    other.replace(binary)


def moved(binary: Path) -> None:
    binary.rename(binary.with_name("elsewhere"))
    binary.symlink_to("elsewhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "longer": lambda binary: binary.write_bytes(b"\x7fELF a program!"),
    "touched": lambda binary: os.utime(binary, ns=(1, 1)),
    "replaced": replaced,
    "moved": moved,
    "script": lambda binary: binary.write_bytes(b"#!/bin/sh\nexec x"),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_known_of_another_binary(
    kept: PrintedCatalog, binary: Path, change: str
) -> None:
    CHANGES[change](binary)
    assert kept.read(binary) is None


def test_of_a_script_nothing_is_kept(tmp_path: Path) -> None:
    script = tmp_path / "codex"
    script.write_bytes(b"#!/bin/sh\nexec /opt/codex")
    kept = PrintedCatalog(tmp_path / "printed-catalog")
    kept.write(script, PRINTED)
    assert not kept.file.exists()
    assert kept.read(script) is None


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_file_that_was_cut_is_not_believed(kept: PrintedCatalog, binary: Path, cut: int) -> None:
    whole = kept.file.read_bytes()
    kept.file.write_bytes(whole[: min(cut, len(whole) - 1)])
    assert kept.read(binary) is None


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"x", PRINTED, b"\xff" * 300, b"a\nb\n" + PRINTED]
)
def test_a_file_with_anything_else_is_not_believed(
    kept: PrintedCatalog, binary: Path, content: bytes
) -> None:
    kept.file.write_bytes(content)
    assert kept.read(binary) is None


def test_a_changed_byte_is_noticed(kept: PrintedCatalog, binary: Path) -> None:
    kept.file.write_bytes(kept.file.read_bytes().replace(b'"m"', b'"n"'))
    assert kept.read(binary) is None


def test_the_next_printing_takes_its_place(kept: PrintedCatalog, binary: Path) -> None:
    kept.write(binary, b"other")
    assert kept.read(binary) == b"other"


def test_what_is_forgotten_is_printed_again(kept: PrintedCatalog, binary: Path) -> None:
    kept.forget()
    kept.forget()
    assert kept.read(binary) is None


def test_a_folder_that_is_not_there_stops_nothing(tmp_path: Path, binary: Path) -> None:
    nowhere = PrintedCatalog(tmp_path / "none" / "printed-catalog")
    nowhere.write(binary, PRINTED)
    nowhere.forget()
    assert nowhere.read(binary) is None
