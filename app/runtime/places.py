"""Places of a worker's connections: who has how many, and who still finds one where they run out. Pure.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app` that
does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from app.runtime.first_bytes import FirstBytes

_MOST_KEPT_FREE = 32


class Places:
    """So many places. A caller is the name of a key, or None: all strangers together."""

    def __init__(self, count: int) -> None:
        self.kept_free = min(_MOST_KEPT_FREE, count // 4)
        self._many = count // 2
        self._held: Counter[str | None] = Counter()

    def enter(self, caller: str | None) -> None:
        """Note that a connection has a place."""
        self._held[caller] += 1

    def leave(self, caller: str | None) -> None:
        """Note that it has none any more."""
        self._held[caller] -= 1

    def finds_room(
        self, first: FirstBytes, caller: str | None, free: int, make_room: Callable[[int], bool]
    ) -> bool:
        """Return whether one that begins so is let in where only `free` places are left: for health checks, always.

        `make_room` tells another connection to end if one has waited for so many moments. Its place is free only when
        it has ended, so that some of those that are kept free are in use until then: a quarter of them, where who comes
        is a stranger or has many places already; and all but a quarter for a key that has few, or is the only one.
        """
        if first.is_health_check:
            make_room(1)
            return True
        if caller is not None and (self._held[caller] < self._many or self._is_alone(caller)):
            return make_room(1) or free > self.kept_free // 4
        return free > self.kept_free * 3 // 4 and make_room(2)

    def _is_alone(self, caller: str) -> bool:
        """True where no other key has a place: there is nobody whom this one could be in the way of."""
        return not any(held and name not in (None, caller) for name, held in self._held.items())
