"""Downloader of one image: connect, follow redirects, read within every limit, look at what it really is."""

from __future__ import annotations

import math
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass, replace
from functools import cached_property, partial
from http import HTTPStatus
from http.client import HTTPException
from urllib.parse import urljoin

import certifi
from gevent import Timeout, get_hub
from requests import ConnectionError as NotConnected
from requests import RequestException, Response
from requests import Timeout as NoAnswer
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as NoMore

from app.images import pinned_adapter
from app.images.cache import Image, may_be_kept
from app.images.dimensions import MOST_PIXELS, pixels_of
from app.images.media_types import UNDECLARED, media_type_of
from app.images.name_lookups import NameLookups
from app.images.ssrf_guard import (
    AddressRule,
    Location,
    NotFetched,
    Reason,
    parse_location,
    resolve,
)

_BLOCK = 1 << 16
_SILENCES = (NoAnswer, NoMore, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may make us fetch. Bytes are of the images themselves: a data URL is a third longer."""

    images: int = 32
    image_bytes: int = 20 << 20
    request_bytes: int = 24 << 20
    redirects: int = 3
    addresses: int = 3
    lookup_s: float = 5.0
    at_once: int = 4
    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 30.0
    queue_s: float = 10.0


@dataclass(slots=True)
class Batch:
    """What the images of one request share: the name of its key, and bounds.

    `bytes_left` and `pixels_left` count down, `deadline` (monotonic) is set at the start.
    """

    owner: str
    bytes_left: int
    pixels_left: int
    deadline: float = math.inf

    def take(self, size: int) -> None:
        """Count bytes of an image. Raises `NotFetched` when the request has too many of them."""
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise NotFetched(Reason.TOO_LARGE)

    def take_pixels(self, count: int) -> None:
        """Count pixels of an image, like its bytes."""
        self.pixels_left -= count
        if count > MOST_PIXELS or self.pixels_left < 0:
            raise NotFetched(Reason.TOO_MANY_PIXELS)

    def seconds_left(self) -> float:
        """Return the time left. Raises `NotFetched` when there is none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise NotFetched(Reason.DEADLINE)
        return left


@dataclass(frozen=True, slots=True)
class _Pointer:
    """A redirect, and whether one may rely on it the next time."""

    location: Location
    may_be_kept: bool


class Downloader:
    """See the module. The arguments are those of `app.images.fetcher.ImageFetcher`."""

    def __init__(
        self, rule: AddressRule, lookups: NameLookups, tls: ssl.SSLContext | None, limits: Limits
    ) -> None:
        self._rule, self._lookups = rule, lookups
        self._given_tls = tls
        self._limits = limits

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Made once: reading the certificates takes 20 ms, in which the whole worker would stand still.
        return self._given_tls or ssl.create_default_context(cafile=certifi.where())

    def fetch(self, batch: Batch, url: str) -> Image:
        """Return the image at `url`. Blocks until `batch.deadline` at most; raises `NotFetched`.

        The deadline holds for every step where the worker is patched by gevent; where not, between two reads only.
        """
        with Timeout(batch.seconds_left(), NotFetched(Reason.DEADLINE)):
            return self._fetch(batch, url)

    def _fetch(self, batch: Batch, url: str) -> Image:
        location = parse_location(url)
        is_kept = True
        for _ in range(self._limits.redirects + 1):
            answer = self._get(batch, location)
            is_kept = is_kept and answer.may_be_kept
            if isinstance(answer, Image):
                return replace(answer, may_be_kept=is_kept)
            location = answer.location
        raise NotFetched(Reason.REDIRECT)

    def _get(self, batch: Batch, location: Location) -> Image | _Pointer:
        """Return the image, or where the answer points to."""
        addresses = resolve(location, self._rule, partial(self._lookups.resolve, batch.owner))
        limits = self._limits
        is_silent = False
        for address in addresses[: limits.addresses]:
            left = batch.seconds_left()
            timeout_s = min(limits.connect_s, left), min(limits.read_s, left)
            try:
                with pinned_adapter.get(location, address, self._tls, timeout_s) as response:
                    return self._read(batch, location, response)
            except NotConnected as error:
                is_silent = isinstance(error, _SILENCES)
            except (RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
                is_silent = isinstance(error, _SILENCES)
                break
        raise NotFetched(Reason.SILENCE if is_silent else Reason.CONNECTION)

    def _read(self, batch: Batch, location: Location, response: Response) -> Image | _Pointer:
        is_kept = may_be_kept(response.headers)
        if response.is_redirect:
            return _Pointer(_follow(location, response.headers["Location"]), is_kept)
        if response.status_code != HTTPStatus.OK:
            raise NotFetched(Reason.STATUS)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise NotFetched(Reason.ENCODING)
        declared = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not declared.startswith("image/") and declared not in UNDECLARED:
            raise NotFetched(Reason.TYPE)
        body = self._read_body(batch, response)
        kind, pixels = _sniff(body), _pixels_of(body)
        batch.take_pixels(pixels)
        data_url = f"data:{kind};base64,{b64encode(body).decode('ascii')}"
        return Image(data_url, len(body), pixels, is_kept)

    def _read_body(self, batch: Batch, response: Response) -> bytearray:
        declared = response.headers.get("Content-Length", "")
        limit = min(self._limits.image_bytes, batch.bytes_left)
        if declared.isascii() and declared.isdigit() and int(declared) > limit:
            raise NotFetched(Reason.TOO_LARGE)
        body = bytearray()
        # read1: what has arrived, so that a byte a second does not keep us here until a block is full.
        while chunk := response.raw.read1(_BLOCK, decode_content=False):
            batch.seconds_left()
            batch.take(len(chunk))
            body += chunk
            if len(body) > self._limits.image_bytes:
                raise NotFetched(Reason.TOO_LARGE)
        return body


def _follow(location: Location, pointer: str) -> Location:
    """Return where a redirect leads; `resolve` judges it like any other. Raises `NotFetched`."""
    try:
        # Headers are read as Latin-1, addresses are written in UTF-8.
        target = parse_location(urljoin(location.url, pointer.encode("latin-1").decode("utf-8")))
    except (ValueError, NotFetched):
        raise NotFetched(Reason.REDIRECT) from None
    if location.scheme == "https" and target.scheme == "http":
        raise NotFetched(Reason.REDIRECT)
    return target


def _sniff(body: bytearray) -> str:
    """Return the media type that the first bytes prove; what the server declared is not asked."""
    if not body:
        raise NotFetched(Reason.EMPTY)
    kind = media_type_of(body)
    if kind is None:
        raise NotFetched(Reason.TYPE)
    return kind


def _pixels_of(body: bytearray) -> int:
    # In a thread: those of a JPEG can stand anywhere.
    pixels: int | None = get_hub().threadpool.apply(pixels_of, (body,))
    if pixels is None:
        raise NotFetched(Reason.DAMAGED)
    return pixels
