"""A file that cannot be the child: a script whose program the child's PATH does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.codex.binary import BinaryRefused, check_binary


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ("#!/usr/bin/env no-such-node", "no-such-node"),
        ("#!/usr/bin/env -S no-such-node --flag", "no-such-node"),
        ("#! /opt/no-such/node", "/opt/no-such/node"),
        ("#!/usr/bin/env -S A=1 no-such-node", "no-such-node"),
    ],
)
def test_a_script_without_its_program(tmp_path: Path, first: str, named: str) -> None:
    path = tmp_path / "codex.js"
    path.write_text(f"{first}\n")
    with pytest.raises(BinaryRefused, match=f"a script for {named},"):
        check_binary(path)


@pytest.mark.parametrize("first", ["#!/bin/sh", "#!/usr/bin/env sh", "\x7fELF", "", "#!", "#!'"])
def test_any_other_file_is_for_the_system_to_judge(tmp_path: Path, first: str) -> None:
    path = tmp_path / "codex"
    path.write_text(first)
    check_binary(path)
    check_binary(tmp_path / "nowhere")
