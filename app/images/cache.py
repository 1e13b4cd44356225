"""Cache of downloaded images, in memory: a conversation names the same ones in every turn.

What one key had downloaded is never given to another, so that no answer's speed tells what other callers look at.
What is kept was fetched through the guard; from here nothing connects anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cachetools import TTLCache

from app.shared_cache import SharedCache

KEPT_S = 300.0
_OVERHEAD = 512
"""Bytes of an entry beside its image, roughly."""


@dataclass(frozen=True, slots=True)
class Image:
    """A downloaded image as a data URL; `size` is in bytes of the image itself, `may_be_kept` as its server says."""

    data_url: str
    size: int
    pixels: int
    may_be_kept: bool = True


class ImageCache:
    """Keeps up to `max_bytes` of images for `KEPT_S` each; of the owner that has most, the one used longest ago goes.

    `clock` is monotonic, in seconds. `on_evicted` is called for each that has made room. Nothing here blocks or yields.
    """

    def __init__(
        self,
        max_bytes: int = 64 << 20,
        clock: Callable[[], float] = time.monotonic,
        on_evicted: Callable[[], object] = lambda: None,
    ) -> None:
        def make() -> TTLCache[str, Image]:
            return TTLCache(max_bytes, KEPT_S, timer=clock, getsizeof=_bytes_of)

        self._images = SharedCache[str, Image](max_bytes, make, on_evicted)

    def __repr__(self) -> str:
        images = self._images
        return f"<ImageCache {len(images)} images, {images.size} of {images.limit} bytes>"

    def get(self, owner: str, url: str) -> Image | None:
        """Return what this owner had downloaded from the address, None if it is not kept any more."""
        return self._images.get(owner, url)

    def put(self, owner: str, url: str, image: Image) -> None:
        """Keep an image, unless its server forbids that or it is larger than the whole cache."""
        self._images.pop(owner, url)
        if image.may_be_kept:
            self._images.put(owner, url, image)


def _bytes_of(image: Image) -> int:
    return len(image.data_url) + _OVERHEAD


_NOT_KEPT = frozenset({"no-store", "no-cache", "private", "max-age=0", "s-maxage=0"})


def may_be_kept(headers: Mapping[str, str]) -> bool:
    """True unless an answer with these headers is for this once, or for its caller alone."""
    given = headers.get("Cache-Control", "").lower().split(",")
    directives = {directive.strip() for directive in given}
    names = {directive.partition("=")[0] for directive in directives}
    return not _NOT_KEPT & (directives | names) and "*" not in headers.get("Vary", "")
