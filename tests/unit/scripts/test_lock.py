"""The file with the hashes against the one without: the same packages in the same versions."""

from __future__ import annotations

import re

from tests.e2e.harness import ROOT

PIN = r"^([\w.-]+==\S+)"


def test_what_is_locked_is_what_is_required() -> None:
    required = re.findall(PIN, (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    locked = (ROOT / "requirements.lock").read_text()
    assert sorted(re.findall(PIN, locked, re.MULTILINE)) == sorted(required)
    for entry in re.split(PIN, locked, flags=re.MULTILINE)[2::2]:
        assert "--hash=sha256:" in entry


def test_nothing_is_asked_of_another_registry() -> None:
    locked = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^-|://|find-links", locked, re.MULTILINE)
