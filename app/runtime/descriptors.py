"""Plan of a worker's open files: how many it needs, and may have. Pure.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits of one worker: `soft` to be set, the `connections` that it allows, `lacking` how many more were wanted."""

    soft: int
    connections: int
    lacking: int = 0


def plan(connections: int, reserve: int, *, soft: int, hard: int) -> Plan:
    """Return what to do for that many client connections and `reserve` other files; a negative limit means none.

    A service that accepts what it has no descriptor for fails in unforeseen places; so where the hard limit is too low,
    it accepts fewer.
    """
    needed = connections + reserve
    if soft < 0 or soft >= needed:
        return Plan(soft, connections)
    limit = needed if hard < 0 else min(needed, hard)
    fits = max(FEWEST_CONNECTIONS, limit - reserve)
    return Plan(limit, fits, connections - fits)
