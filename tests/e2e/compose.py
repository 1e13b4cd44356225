"""The Compose files as tests read them: variables filled in, and several files merged as Compose merges them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker"
FILES = sorted(path.name for path in FOLDER.glob("compose*.yaml"))
STAGES = ("dev", "staging", "prod")

_VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


class Missing(Exception):
    """A variable with `:?` that is not given."""


def variables(stage: str, **more: str) -> dict[str, str]:
    """Return what a stage's file gives, and the domain that none of them has."""
    text = (FOLDER / "stages" / f"{stage}.env").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    return {**given, "GATEWAY_DOMAIN": "api.example.com", **more}


def filled(text: str, given: Mapping[str, str]) -> str:
    """Fill in every variable."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        found = given.get(name, "")
        if kind == ":?" and not found:
            raise Missing(f"{name}: {rest}")
        return found or (rest if kind == ":-" else "")

    return _VARIABLE.sub(value, text)


def used_variables(text: str) -> set[str]:
    return {match[1] for match in _VARIABLE.finditer(text)}


def load(name: str, given: Mapping[str, str]) -> Any:
    """Return one file with its variables filled in, those in comments not."""
    text = (FOLDER / name).read_text()
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return yaml.safe_load(filled(bare, given))


def labels(service: Mapping[str, Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in service.get("labels", []))


def merged(names: Sequence[str], given: Mapping[str, str]) -> Any:
    """Return what several files say together."""
    result: Any = {}
    for name in names:
        result = _merge(result, load(name, given))
    return result


def _merge(one: Any, other: Any, key: str = "") -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            name: _merge(one[name], other[name], name)
            if name in one and name in other
            else one.get(name, other.get(name))
            for name in chain(one, (name for name in other if name not in one))
        }
    if key == "labels":
        both = labels({"labels": one}) | labels({"labels": other})
        return [f"{name}={value}" for name, value in both.items()]
    if isinstance(one, list) and isinstance(other, list) and key not in {"command", "test"}:
        return [*one, *other]
    return other
