"""Plan of a worker's open files: how many it needs, and may have. Pure.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_CONNECTIONS = 32

FEWEST_OTHERS = 64
"""What a worker opens beside client connections at the very least, and more than a codex child needs to start."""


class TooFew(Exception):
    """The hard limit of open files is too low for any service. `remedy` says how to raise it, the text also why."""

    def __init__(self, sentence: str, remedy: str) -> None:
        super().__init__(f"{sentence} {remedy}")
        self.sentence, self.remedy = sentence, remedy


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits of one worker: `soft` to be set, the `connections` that it allows, `lacking` how many more were wanted."""

    soft: int
    connections: int
    lacking: int = 0


def plan(connections: int, reserve: int, *, soft: int, hard: int) -> Plan:
    """Return what to do for that many client connections and `reserve` other files; a negative limit means none.

    A service that accepts what it has no descriptor for fails in unforeseen places; so where the hard limit is too low,
    it accepts fewer: half of a small limit is for other files. Raises `TooFew`.
    """
    needed = connections + reserve
    if soft < 0 or soft >= needed:
        return Plan(soft, connections)
    limit = needed if hard < 0 else min(needed, hard)
    fewest = FEWEST_CONNECTIONS + FEWEST_OTHERS
    if limit < fewest:
        raise TooFew(
            f"Only {hard} files may be open (hard limit), and the gateway needs {fewest} at least, {needed} for all "
            "that its settings allow.",
            remedy(needed),
        )
    fits = limit - min(reserve, max(FEWEST_OTHERS, limit // 2))
    return Plan(limit, fits, connections - fits)


def remedy(needed: int) -> str:
    """Return how to let a service open so many files."""
    return f"Raise it: ulimit -Hn {needed}, or LimitNOFILE={needed} in the service's unit."
