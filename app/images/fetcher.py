"""Images that a request names by address: fetched through the guard and put into the items as data URLs.

codex takes no image address. Everything here happens before a turn is asked for, so each failure is an ordinary 400
that names the field, or a 408 where trying again may help. A caller learns nothing of the network behind us: whether an
address is not allowed, refuses or answers 404, the sentence is the same; only what an allowed address sent is
described, and that it was silent.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from cachetools import TTLCache
from gevent.pool import Pool

from app.errors import ImageTimeout, InvalidRequest, WorkerBusy
from app.images.cache import KEPT_S, Image, ImageCache
from app.images.dimensions import MOST_PIXELS, MOST_PIXELS_TOGETHER
from app.images.download import Batch, Downloader, Limits
from app.images.name_lookups import NameLookups, TakePlace
from app.images.ssrf_guard import (
    AddressRule,
    NotFetched,
    Reason,
    Resolver,
    public_only,
    system_resolver,
)

log = logging.getLogger("codex_api.images")

Item = Mapping[str, Any]

_MEMBERS = ("content", "output")
"""Where an item has its parts: a message's content, a tool's output."""


LEFT_OUT: Item = MappingProxyType(
    {"type": "input_text", "text": "[An image could not be downloaded any more and was left out.]"}
)
"""What stands in the place of an image of the past that cannot be had."""

IMAGE_REQUESTS = 16
"""Requests that download images at once."""

_MOST_FAILED = 250
"""Failures of one key that are remembered."""


def no_limit(owner: str, within_s: float) -> Callable[[], None]:  # noqa: ARG001
    """Give a place to everybody."""
    return lambda: None


@dataclass(frozen=True, slots=True)
class Places:
    """Where the downloads of all keys wait for each other: requests that download, and names that are looked up."""

    requests: TakePlace = no_limit
    lookups: TakePlace = no_limit


class ImageFetcher:
    """Replaces image addresses by data URLs. One for the whole worker; `enabled=False` refuses them all.

    `rule`, `resolver` and `tls` are what a test replaces: which addresses may be connected to, how names become
    addresses, and which certificates are trusted (by default those of certifi). `cache` keeps what was downloaded.
    """

    def __init__(
        self,
        rule: AddressRule = public_only,
        *,
        limits: Limits | None = None,
        places: Places | None = None,
        enabled: bool = True,
        resolver: Resolver = system_resolver,
        tls: ssl.SSLContext | None = None,
        cache: ImageCache | None = None,
    ) -> None:
        self._cache = cache or ImageCache()
        self._limits = limits or Limits()
        self._enabled = enabled
        self._places = places or Places()
        lookups = NameLookups(resolver, self._places.lookups, self._limits.lookup_s)
        self._downloader = Downloader(rule, lookups, tls, self._limits)
        # What a conversation names in every turn, and is not there, costs its time only once in a while.
        self._failed: dict[str, TTLCache[str, bool]] = {}

    def inline(
        self,
        items: Sequence[Item],
        owner: str,
        fields: Mapping[str, str],
        default: str,
        past: Collection[str] = (),
        *,
        pixels: int = 0,
    ) -> tuple[Item, ...]:
        """Return the items with every image in them as a data URL; the items given are not changed.

        `fields` has the request's field of an image by its address; for any other it is `default`. In the place of an
        image that is in `past` and not in `fields`, and cannot be had, stands `LEFT_OUT`. `pixels` are those of the
        images that are data URLs already: there is a limit for all together.
        One pass where there is nothing to fetch, or all of it is still kept for this owner (the name of a key).
        Otherwise blocks, `Limits.queue_s` and `Limits.total_s` at most; an address that occurs several times is
        fetched once. Raises `InvalidRequest` with the field of the first
        image that cannot be had, `WorkerBusy` while too many requests fetch images.
        """
        urls = dict.fromkeys(part["image_url"] for part in _remote_parts(items))
        if not urls:
            return tuple(items)
        wanted = {u: fields.get(u, default) for u in urls if u in fields or u not in past}
        self._check(wanted)
        others = [url for url in reversed(urls) if url not in wanted and self._may_try(owner, url)]
        room = self._limits.images - len(wanted)
        batch = Batch(owner, self._limits.request_bytes, MOST_PIXELS_TOGETHER - pixels)
        images = self._get(batch, owner, wanted)
        # As far as there is room, the latest first; None: it may fail.
        images |= self._get(batch, owner, dict.fromkeys(others[:room]))
        return tuple(_with_images(item, images) for item in items)

    def _get(self, batch: Batch, owner: str, wanted: Mapping[str, str | None]) -> dict[str, Image]:
        images = self._kept(batch, owner, wanted)
        missing = {url: param for url, param in wanted.items() if url not in images}
        if missing:
            for url, image in self._download(batch, owner, missing).items():
                self._cache.put(owner, url, image)
                images[url] = image
        return images

    def _may_try(self, owner: str, url: str) -> bool:
        return self._enabled and url not in self._failed.get(owner, ())

    def _check(self, wanted: Mapping[str, str]) -> None:
        param = next(iter(wanted.values()), None)
        if not self._enabled and param is not None:
            raise InvalidRequest(
                f"Invalid '{param}': this gateway does not download images. "
                "Send a data URL like data:image/png;base64,...",
                param=param,
                code="invalid_image_url",
            )
        most = self._limits.images
        if len(wanted) > most:
            raise InvalidRequest(
                f"At most {most} images are downloaded for one request, and this one names {len(wanted)}. "
                "Send the others as data URLs.",
                param=list(wanted.values())[most],
            )

    def _kept(self, batch: Batch, owner: str, wanted: Mapping[str, str | None]) -> dict[str, Image]:
        """Return the images that need no download; they count like the others."""
        images: dict[str, Image] = {}
        for url, param in wanted.items():
            image = self._cache.get(owner, url)
            if image is None:
                continue
            try:
                batch.take(image.size)
                batch.take_pixels(image.pixels)
            except NotFetched as failure:
                if param is not None:
                    raise _refusal(failure.reason, param, self._limits) from None
                continue
            images[url] = image
        return images

    def _download(
        self, batch: Batch, owner: str, wanted: Mapping[str, str | None]
    ) -> dict[str, Image]:
        try:
            give_back = self._places.requests(owner, self._limits.queue_s)
        except WorkerBusy as busy:
            raise WorkerBusy(
                "Too many images are being downloaded; try again shortly.",
                retry_after_s=busy.retry_after_s,
            ) from None
        try:
            batch.deadline = min(batch.deadline, time.monotonic() + self._limits.total_s)
            return self._fetch_all(batch, owner, wanted)
        finally:
            give_back()

    def _fetch_all(
        self, batch: Batch, owner: str, wanted: Mapping[str, str | None]
    ) -> dict[str, Image]:
        pool = Pool(self._limits.at_once)
        outcomes = pool.imap(partial(self._attempt, batch), wanted)
        images: dict[str, Image] = {}
        try:
            for (url, param), outcome in zip(wanted.items(), outcomes, strict=True):
                if not isinstance(outcome, NotFetched):
                    images[url] = outcome
                    continue
                log.info("image_not_fetched", extra={"reason": outcome.reason.value})
                if param is not None:
                    raise _refusal(outcome.reason, param, self._limits)
                failed = self._failed.setdefault(owner, TTLCache(_MOST_FAILED, KEPT_S))
                failed[url] = True
        finally:
            # Also where the caller is gone: the others are of no use any more.
            outcomes.kill()
            pool.kill()
        return images

    def _attempt(self, batch: Batch, url: str) -> Image | NotFetched:
        """Return a failure instead of raising it: gevent prints what a greenlet raises."""
        try:
            return self._downloader.fetch(batch, url)
        except NotFetched as failure:
            return failure


def _remote_parts(items: Iterable[Item]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        for member in _MEMBERS:
            parts = item.get(member)
            if isinstance(parts, list):
                yield from filter(_is_remote, parts)


def _is_remote(part: Mapping[str, Any]) -> bool:
    """Anything but a data URL: what is no http(s) address either is refused as malformed."""
    url = part.get("image_url")
    return isinstance(url, str) and url[:5].lower() != "data:" and part["type"] == "input_image"


def _with_images(item: Item, images: Mapping[str, Image]) -> Item:
    changed = {
        member: [_with_image(part, images) for part in item[member]]
        for member in _MEMBERS
        if isinstance(item.get(member), list)
    }
    return {**item, **changed} if changed else item


def _with_image(part: Mapping[str, Any], images: Mapping[str, Image]) -> Mapping[str, Any]:
    if not _is_remote(part):
        return part
    image = images.get(part["image_url"])
    return dict(LEFT_OUT) if image is None else {**part, "image_url": image.data_url}


# What the caller is told

_UNREACHABLE = (
    "invalid_image_url",
    (
        "The image at '{param}' could not be downloaded. Its address must be public, use port 80 or 443 and answer "
        "with the image; you can also send a data URL like data:image/png;base64,..."
    ),
)

_LATE = frozenset({Reason.NAME_DEADLINE, Reason.SILENCE, Reason.DEADLINE})

_REFUSALS: Mapping[Reason, tuple[str, str]] = MappingProxyType(
    {
        Reason.MALFORMED: (
            "invalid_image_url",
            "Invalid '{param}': expected a plain http(s) address of an image, without user name or password.",
        ),
        Reason.TYPE: (
            "invalid_image_format",
            "The image at '{param}' is none of the supported formats: png, jpeg, gif, webp.",
        ),
        Reason.TOO_LARGE: (
            "image_file_too_large",
            (
                "The image at '{param}' is too large: at most {image_bytes} bytes are downloaded for one image "
                "and {request_bytes} for one request."
            ),
        ),
        Reason.EMPTY: ("empty_image_file", "The image at '{param}' is empty."),
        Reason.DAMAGED: (
            "image_parse_error",
            "The image at '{param}' is damaged: it does not say how large it is.",
        ),
        Reason.TOO_MANY_PIXELS: (
            "image_too_large",
            (
                "The image at '{param}' has too many pixels: at most {pixels} are accepted in one image and "
                "{request_pixels} in one request."
            ),
        ),
    }
)


def _refusal(reason: Reason, param: str, limits: Limits) -> InvalidRequest:
    if reason in _LATE:
        return ImageTimeout(
            f"The image at '{param}' could not be downloaded in time. Try again, or send a data URL like "
            "data:image/png;base64,...",
            param=param,
        )
    code, sentence = _REFUSALS.get(reason, _UNREACHABLE)
    message = sentence.format(
        param=param,
        image_bytes=limits.image_bytes,
        request_bytes=limits.request_bytes,
        pixels=MOST_PIXELS,
        request_pixels=MOST_PIXELS_TOGETHER,
    )
    return InvalidRequest(message, param=param, code=code)
