"""Images that were downloaded a moment ago, in memory: a conversation names the same ones in every turn.

What one key had downloaded is never given to another, so nobody learns from an answer's speed what others look at.
What is kept was fetched through the guard; from here nothing connects anywhere.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_AGE_S = 300.0
MAX_ENTRIES = 1000
_OVERHEAD = 512
"""Bytes of an entry beside its image and its address, roughly."""

_SECONDS = re.compile(r"(?:s-maxage|max-age)=\"?([0-9]{1,10})\"?")


@dataclass(frozen=True, slots=True)
class Image:
    """A downloaded image as a data URL; `size` is in bytes of the image itself, `fresh_s` how long it may be kept."""

    data_url: str
    size: int
    fresh_s: float


class ImageCache:
    """Keeps images for `MAX_AGE_S` at most, `max_bytes` and `MAX_ENTRIES` of them; 0 bytes keep none.

    The ones used longest ago make room. `clock` is monotonic, in seconds. Nothing here blocks or yields.
    """

    def __init__(
        self, max_bytes: int = 64 << 20, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], tuple[Image, float]] = OrderedDict()
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<ImageCache {len(self._entries)} images, {self._bytes} of {self._max_bytes} bytes>"

    def get(self, owner: str, url: str) -> Image | None:
        """Return what this owner had downloaded from the address, None if it is not kept or no longer fresh."""
        self._drop_stale()
        entry = self._entries.get((owner, url))
        if entry is None:
            return None
        self._entries.move_to_end((owner, url))
        return entry[0]

    def put(self, owner: str, url: str, image: Image) -> None:
        """Keep an image, unless its server forbids that or it is larger than the whole cache."""
        self._drop_stale()
        self._drop((owner, url))
        cost = _cost(url, image)
        life_s = min(image.fresh_s, MAX_AGE_S)
        if life_s <= 0 or cost > self._max_bytes:
            return
        while self._bytes + cost > self._max_bytes or len(self._entries) >= MAX_ENTRIES:
            self._drop(next(iter(self._entries)))
        self._entries[owner, url] = image, self._clock() + life_s
        self._bytes += cost

    def _drop_stale(self) -> None:
        now = self._clock()
        for key in [key for key, (_, stale_at) in self._entries.items() if stale_at <= now]:
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _cost(key[1], entry[0])


def _cost(url: str, image: Image) -> int:
    return len(image.data_url) + len(url) + _OVERHEAD


def freshness_s(headers: Mapping[str, str]) -> float:
    """Return how long an answer with these headers may be kept: 0 is not at all, `MAX_AGE_S` where nothing is said.

    `private` does not matter: no answer depends on who asks, since a download sends nothing of its caller.
    """
    directives = [
        directive.strip().lower() for directive in headers.get("Cache-Control", "").split(",")
    ]
    names = {directive.partition("=")[0].strip() for directive in directives}
    if names & {"no-store", "no-cache"} or "*" in headers.get("Vary", ""):
        return 0.0
    if not names & {"max-age", "s-maxage"}:
        return MAX_AGE_S
    given = [int(match[1]) for match in map(_SECONDS.fullmatch, directives) if match]
    age = headers.get("Age", "").strip()
    spent = int(age) if re.fullmatch("[0-9]{1,10}", age) else 0
    # A life that cannot be read means stale, as RFC 9111 has it; such an Age is ignored.
    return max(0.0, min(given) - spent) if given else 0.0
