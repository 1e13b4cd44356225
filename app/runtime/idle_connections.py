"""Idle connections of a worker, and which of them is evicted when there is no room. Pure.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")


class IdleConnections(Generic[C]):
    """Idle connections, and since when each waits for a request, in seconds of any monotonic clock.

    They must be added in the order of time: the dictionaries then have the longest-waiting first.
    """

    def __init__(self) -> None:
        self._never_served: dict[C, float] = {}
        self._served: dict[C, float] = {}
        self._upgraded: dict[C, float] = {}

    def add(self, connection: C, now: float, *, was_served: bool) -> None:
        """Note that a connection waits; `was_served` once a request of it was answered."""
        (self._served if was_served else self._never_served)[connection] = now

    def add_upgraded(self, connection: C, now: float) -> None:
        """Note that a connection waits which speaks another protocol, and has something to lose."""
        self._upgraded[connection] = now

    def remove(self, connection: C) -> None:
        """Forget a connection. Does nothing for one that does not wait."""
        self._never_served.pop(connection, None)
        self._served.pop(connection, None)
        self._upgraded.pop(connection, None)

    def take_since(self, limit: float) -> list[C]:
        """Remove and return those that have waited since `limit` or longer."""
        taken = []
        for group in (self._never_served, self._served, self._upgraded):
            found = [connection for connection, since in group.items() if since <= limit]
            for connection in found:
                del group[connection]
            taken += found
        return taken

    def take_longest(self, limit: float, served_limit: float) -> C | None:
        """Remove and return the one that goes first, if one has waited since `limit` or longer, or its `served_limit`.

        Those that were never served go before the others: a flood of them then displaces itself. Upgraded ones go only
        where nothing else waits.
        """
        groups = [(self._never_served, limit), (self._served, served_limit)]
        if not (self._never_served or self._served):
            groups = [(self._upgraded, served_limit)]
        for group, latest in groups:
            for connection, since in group.items():
                if since > latest:
                    break
                del group[connection]
                return connection
        return None

    def __len__(self) -> int:
        return len(self._never_served) + len(self._served) + len(self._upgraded)
