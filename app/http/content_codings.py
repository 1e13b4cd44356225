"""Content codings of request bodies (RFC 9110, section 8.4.1): which are read, and how each is taken off. Pure.

What a body becomes is made in small pieces, each when it is asked for: so whoever counts them finds out early that a
small body would become a large one. What one call of a decoder is given, and makes, is bounded, too.
"""

from __future__ import annotations

import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import brotli

from app.errors import InvalidRequest, UnsupportedContentEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 64 * 1024
"""The most that one call of a decoder makes."""

_STEP_BYTES = 16 * 1024
"""The most that one call is given: tables without a text behind them cost a decoder milliseconds, and make nothing."""

_MOST_CODINGS = 3
"""One after the other on one body. Clients apply one; a proxy may add another."""

_MOST_FRAMES = 1000
"""Parts that were compressed on their own, of one body: programs that use several processors make some hundred of the
longest. An empty one is some bytes, and costs a decoder of its own."""

_ZSTD_WINDOW_LOG = 23
"""8 MiB: what a decoder must have memory for, and an encoder may not exceed (RFC 9659)."""

_KIB, _MIB = 1 << 10, 1 << 20


class _Decoder(Protocol):
    """Decoder of one frame. `rest` is what stands behind its end, once it `is_over`.

    Where it `has_more`, there is more to make of what it was given.
    """

    @property
    def is_over(self) -> bool: ...

    @property
    def has_more(self) -> bool: ...

    @property
    def rest(self) -> bytes: ...

    def decode(self, data: bytes) -> bytes:
        """Return at most `PIECE_BYTES` more. Raises the library's error for what is not of this coding."""


class _Zlib:
    """gzip, and both kinds of deflate."""

    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self.has_more = False

    @property
    def is_over(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data

    def decode(self, data: bytes) -> bytes:
        made = self._inner.decompress(self._inner.unconsumed_tail + data, PIECE_BYTES)
        # A full piece may have left something behind, in the decoder or before it.
        self.has_more = len(made) == PIECE_BYTES and not self._inner.eof
        return made


_BROTLI_LIMIT = 16 * 1024
"""Its buffer begins with 32 KiB and grows by whole steps until it has as much as the limit."""


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()
        self.has_more = False
        self.rest = b""

    @property
    def is_over(self) -> bool:
        return bool(self._inner.is_finished())

    def decode(self, data: bytes) -> bytes:
        made: bytes = self._inner.process(data, output_buffer_limit=_BROTLI_LIMIT)
        # It would take more data also where it has not given out what it makes of these.
        is_full = len(made) >= _BROTLI_LIMIT or not self._inner.can_accept_more_data()
        self.has_more = is_full and not self._inner.is_finished()
        return made


class _Zstd:
    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
        self._inner = zstd.ZstdDecompressor(options=options)

    @property
    def is_over(self) -> bool:
        return self._inner.eof

    @property
    def has_more(self) -> bool:
        return not self._inner.eof and not self._inner.needs_input

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data

    def decode(self, data: bytes) -> bytes:
        return self._inner.decompress(data, PIECE_BYTES)


@dataclass(frozen=True, slots=True)
class Coding:
    """One coding. `window_bytes`: how much of what it has made its decoder keeps, at most.

    `begin` makes a decoder for a frame that begins with these bytes; several may follow each other, up to
    `most_frames`.
    """

    name: str
    window_bytes: int
    error: type[Exception]
    begin: Callable[[bytes], _Decoder]
    most_frames: int = 1


_ZLIB_HEAD, _ZLIB_MASK = 0x08, 0x0F
"""The low half of zlib's first byte. No encoder begins a stream without zlib's head so: it would be padding that is
not zero."""


def _begin_deflate(data: bytes) -> _Decoder:
    """Return a decoder for what the RFC means, a stream of zlib's, or for what some send, one without its head."""
    has_head = data[0] & _ZLIB_MASK == _ZLIB_HEAD
    return _Zlib(zlib.MAX_WBITS if has_head else -zlib.MAX_WBITS)


_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS

CODINGS = (
    Coding(
        "gzip",
        32 * _KIB,
        zlib.error,
        lambda _: _Zlib(_GZIP_WINDOW_BITS),
        most_frames=_MOST_FRAMES,
    ),
    Coding("deflate", 32 * _KIB, zlib.error, _begin_deflate),
    Coding("br", 16 * _MIB, brotli.error, lambda _: _Brotli()),
    Coding(
        "zstd",
        1 << _ZSTD_WINDOW_LOG,
        zstd.ZstdError,
        lambda _: _Zstd(),
        most_frames=_MOST_FRAMES,
    ),
)
ACCEPTED = ", ".join(coding.name for coding in CODINGS)
"""What an answer says in `Accept-Encoding`."""

_BY_NAME: Mapping[str, Coding] = MappingProxyType(
    {coding.name: coding for coding in CODINGS} | {"x-gzip": CODINGS[0]}
)
_NONE = ("", "identity")
_SHOWN = 80


def codings_of(header: str) -> tuple[Coding, ...]:
    """Return the codings that a `Content-Encoding` names, in the order in which they are taken off.

    Raises `UnsupportedContentEncoding`.
    """
    named = [name.strip().lower() for name in header.split(",")]
    names = [name for name in named if name not in _NONE]
    for name in names:
        if name not in _BY_NAME:
            raise UnsupportedContentEncoding(
                f"This gateway does not read bodies in the content coding '{name[:_SHOWN]}'. Send it as one of "
                f"{ACCEPTED}, or uncompressed and without Content-Encoding."
            )
    if len(names) > _MOST_CODINGS:
        raise UnsupportedContentEncoding(
            f"The body has {len(names)} content codings, one over the other; this gateway takes off "
            f"{_MOST_CODINGS} at most. Send it with one of {ACCEPTED}."
        )
    return tuple(_BY_NAME[name] for name in reversed(names))


def decoded(coding: Coding, blocks: deque[bytes]) -> Iterator[bytes]:
    """Yield what a body in a coding becomes, in pieces of at most `PIECE_BYTES`; an empty one where a step makes none.

    `blocks` are taken out one by one. Raises `InvalidRequest` where they are not what the coding says, or not whole.
    """
    frames = 0
    decoder: _Decoder | None = None
    try:
        for step in _steps(blocks):
            data = step
            while data:
                if decoder is None or decoder.is_over:
                    frames += 1
                    _check_frames(coding, frames)
                    decoder = coding.begin(data)
                yield decoder.decode(data)
                while decoder.has_more:
                    yield decoder.decode(b"")
                data = decoder.rest if decoder.is_over else b""
    except coding.error as error:
        raise _invalid(
            f"It is damaged, or it is not {coding.name} at all"
            + (", or it needs a window of more than 8 MiB." if coding.name == "zstd" else ".")
        ) from error
    if decoder is None or not decoder.is_over:
        raise _invalid(f"The body ends before the end of its {coding.name} data.")


def _steps(blocks: deque[bytes]) -> Iterator[bytes]:
    while blocks:
        block = blocks.popleft()
        for at in range(0, len(block), _STEP_BYTES):
            yield block[at : at + _STEP_BYTES]


def _check_frames(coding: Coding, frames: int) -> None:
    if frames <= coding.most_frames:
        return
    if coding.most_frames == 1:
        raise _invalid(f"There is something behind the end of its {coding.name} data.")
    raise _invalid(f"It consists of more than {coding.most_frames} {coding.name} frames.")


def _invalid(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"We could not decompress the body of your request. {why}", code="INVALID_ENCODING"
    )
