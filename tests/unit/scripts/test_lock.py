"""The file with the hashes against the one without: the same packages in the same versions, and nothing is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.e2e.harness import ROOT

PIN = r"^([\w.-]+==\S+)"


def pinned(part: str) -> dict[str, str]:
    """Return the versions of a part of requirements.txt by the names of packages."""
    pins = (pin.split("==") for pin in re.findall(PIN, part, re.MULTILINE))
    return {canonicalize_name(name): version for name, version in pins}


def brought_by(name: str) -> Iterator[Requirement]:
    """What a package itself asks for on this Python, without its extras."""
    for line in requires(name) or ():
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield wanted


def test_whatever_a_package_asks_for_is_required_in_a_version_that_will_do() -> None:
    """So that nothing is installed whose version, and so whose hash, nobody has chosen."""
    direct, brought = map(pinned, (ROOT / "requirements.txt").read_text().split("# brought by"))
    everything = direct | brought
    asked: dict[str, list[Requirement]] = {}
    for name in everything:
        for wanted in brought_by(name):
            asked.setdefault(canonicalize_name(wanted.name), []).append(wanted)
    assert set(asked) <= set(everything)
    for name, all_wanted in asked.items():
        for wanted in all_wanted:
            assert wanted.specifier.contains(everything[name]), wanted
    # On a newer Python some are not asked for: nothing else may be there without a reason.
    assert set(brought) - set(asked) <= {"typing-extensions"}


def test_what_is_locked_is_what_is_required() -> None:
    required = re.findall(PIN, (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    locked = (ROOT / "requirements.lock").read_text()
    assert sorted(re.findall(PIN, locked, re.MULTILINE)) == sorted(required)
    for entry in re.split(PIN, locked, flags=re.MULTILINE)[2::2]:
        assert "--hash=sha256:" in entry


def test_nothing_is_asked_of_another_registry() -> None:
    locked = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^-|://|find-links", locked, re.MULTILINE)
