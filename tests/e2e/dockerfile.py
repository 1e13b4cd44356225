"""The Dockerfile as tests read it: its stages, and the words of each instruction."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction: `text` is all that follows its name, on one line."""

    name: str
    text: str

    @property
    def flags(self) -> dict[str, str]:
        """Its leading `--name=value`."""
        found = re.match(r"(--\S+\s+)*", self.text)
        words = found[0].split() if found else []
        return dict(word.removeprefix("--").split("=", 1) for word in words)

    @property
    def words(self) -> list[str]:
        """What follows the flags: the list of an exec form, else the words of a shell."""
        rest = re.sub(r"^(--\S+\s+)*", "", self.text)
        return (
            [str(word) for word in json.loads(rest)] if rest.startswith("[") else shlex.split(rest)
        )


@dataclass
class Stage:
    """One FROM and what follows it."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        return [each for each in self.instructions if each.name == name]

    def one(self, name: str) -> Instruction:
        (found,) = self.all(name)
        return found

    @property
    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for each in self.all("ENV") for word in each.words)

    @property
    def healthcheck(self) -> list[str]:
        rest = re.sub(r"^(--\S+\s+)*CMD\s+", "", self.one("HEALTHCHECK").text)
        return [str(word) for word in json.loads(rest)]


def lines(text: str) -> list[str]:
    """Join what a backslash continues; leave out comments and empty lines."""
    kept = [line for line in text.splitlines() if not re.match(r"\s*(#|$)", line)]
    return re.sub(r"\s*\\\n\s*", " ", "\n".join(kept)).splitlines()


def read(text: str | None = None, arguments: Mapping[str, Any] | None = None) -> list[Stage]:
    """Return the stages, with the arguments before the first of them filled in."""
    stages: list[Stage] = []
    known = dict(arguments or {})
    for line in lines(DOCKERFILE.read_text() if text is None else text):
        name, _, rest = line.partition(" ")
        if name == "ARG" and not stages:
            argument, _, default = rest.partition("=")
            known.setdefault(argument, default)
        elif name == "FROM":
            base, *alias = re.sub(r"\$\{(\w+)\}", lambda m: known[m[1]], rest).split()
            stages.append(Stage(base, alias[1] if alias else ""))
        else:
            stages[-1].instructions.append(Instruction(name, rest.strip()))
    return stages
