"""Commands of the runbook, read out of the page and typed into a shell."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.e2e.monitoring import RUNBOOK

_MARK = "----- a command has ended -----"
_FAILED = re.compile(r"Traceback|command not found|No such file or directory$", re.MULTILINE)
_TOLD = re.compile(r'"(?:event|error_code|outcome)": "(\w+)"')


@dataclass
class Command:
    """A line behind the prompt, with those that it goes on in, and what the page says that it prints."""

    words: str
    pasted: str = ""


@cache
def entries() -> dict[str, tuple[str, list[list[Command]]]]:
    """Return the text and the console blocks of each entry that has such blocks, by its heading."""
    parts = re.split(r"^#{1,3} (.+)\n", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if blocks:
            found[heading] = (text, [list(_commands(block)) for block in blocks])
    return found


def _commands(block: str) -> Iterator[Command]:
    command = Command("")
    for line in block.splitlines():
        if line.startswith("$ "):
            if command.words:
                yield command
            command = Command(line.removeprefix("$ "))
        elif command.words.endswith("\\"):
            command.words += f"\n{line}"
        else:
            command.pasted += f"{line}\n"
    yield command


@dataclass
class Shell:
    """A shell in the folder of the service. `instead` has what stands for words of the page: an address, an id."""

    folder: Path
    environment: Mapping[str, str]
    instead: Mapping[str, str]
    silent: frozenset[str] = frozenset()
    """Commands that may find nothing here."""

    def follow(self, heading: str, *numbers: int) -> None:
        """Type the blocks of an entry, or those with these numbers; fail if a command has nothing to say.

        What names Docker is left out, where the page itself says that it was not executed.
        """
        text, blocks = entries()[heading]
        for number, block in enumerate(blocks):
            if "docker " in block[0].words:
                assert "not executed" in text.lower(), f"{heading}: who has executed this?"
            elif not numbers or number in numbers:
                self._type(heading, block)

    def _type(self, heading: str, block: list[Command]) -> None:
        # What only sets variables sets those of the reader; ours are in the environment.
        typed = [command for command in block if not command.words.startswith("export ")]
        script = "".join(
            f"{self._ours(command.words)}\ncode=$?; printf '\\n%s\\n' '{_MARK}'; (exit $code)\n"
            for command in typed
        )
        done = subprocess.run(
            ["bash", "-u", "-c", script],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        *printed, rest = done.stdout.split(f"\n{_MARK}\n")
        assert (len(printed), rest) == (len(typed), ""), done.stdout
        for command, said in zip(typed, printed, strict=True):
            where = f"{heading}\n$ {command.words}\n{said}"
            assert said.strip() or command.words in self.silent, where
            assert not _FAILED.search(said), where
            assert set(_TOLD.findall(command.pasted)) <= set(_TOLD.findall(said)), where

    def _ours(self, words: str) -> str:
        for theirs, ours in self.instead.items():
            words = re.sub(theirs, ours, words)
        return words
