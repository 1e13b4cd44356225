"""Ids of calls: stand-ins for those that one side would not take. Pure.

The Responses API refuses an id that is empty, longer than 64 characters, or another call's in the same conversation;
chat completions take all of these, and servers behind codex give them (`call_0` in every round). A stand-in depends on
nothing but the conversation so far, so that the same history always reads the same and stays cached upstream.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

_LONGEST = 64


def stand_in(*parts: object) -> str:
    """Return an id made of what tells this call from every other."""
    text = "\0".join(map(str, parts))
    return f"call_{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


class CallIds:
    """The ids of one conversation's calls, from its beginning."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def next(self, call_id: str) -> str:
        """Return the id under which the next call that its caller knows by `call_id` goes upstream."""
        place = self._given[call_id]
        self._given[call_id] += 1
        if place == 0 and 0 < len(call_id) <= _LONGEST:
            return call_id
        return stand_in(call_id, place)
