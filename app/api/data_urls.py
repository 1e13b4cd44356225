"""Data URLs (RFC 2397) as clients really send them: with parameters, line breaks, other alphabets. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote_to_bytes

_PARAMETER = r';[^,;"]*(?:"[^"]*"[^,;"]*)?'
_HEAD = re.compile(rf'data:([^,;"]*)((?:{_PARAMETER})*),', re.IGNORECASE)
_PARAMETERS = re.compile(_PARAMETER)
_TYPE = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+")
_BASE64 = re.compile(r"[a-zA-Z0-9+/]+")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = b" \t\n\r\f\v"

_LONGEST_HEAD = 4096
"""Characters before the data: a type, and parameters such as a file's name."""

_MOST_STRAY_SIGNS = 100_000
_MOST_PADDING = 2
_PIECE = 1 << 20  # a multiple of 4, so that base64 can be cut there
Data = TypeVar("Data", str, bytes)


@dataclass(frozen=True, slots=True)
class DataUrl:
    """Parts of a data URL. `media_type` is in lower case, empty where it is none; `data` is as it was sent."""

    media_type: str
    parameters: Mapping[str, str]
    is_base64: bool
    data: str

    def content(self) -> bytes | None:
        """Return what the URL holds, None if it cannot be told."""
        if not self.is_base64:
            return _unescaped(self.data)
        text = canonical_base64(self.data)
        return None if text is None else b"".join(map(b64decode, in_pieces(text)))


def parse_data_url(url: str) -> DataUrl | None:
    """Return the parts of a data URL, None if it is none. Linear."""
    found = _HEAD.match(url, 0, _LONGEST_HEAD)
    if found is None:
        return None
    words = [word[1:].strip() for word in _PARAMETERS.findall(found[2])]
    parameters = {}
    for word in words:
        name, is_pair, value = word.partition("=")
        if is_pair:
            parameters[name.strip().lower()] = value.strip().strip('"')
    media_type = found[1].strip().lower()
    return DataUrl(
        media_type if _TYPE.fullmatch(media_type) else "",
        parameters,
        any(word.lower() == "base64" for word in words),
        url[found.end() :],
    )


def canonical_base64(text: str) -> str | None:
    """Return base64 in the standard alphabet, in one piece and padded; None for anything else, and for nothing.

    Some clients break lines, leave out the padding, escape it for an address, or take the alphabet made for those.
    """
    if not _is_base64(text):
        raw = _unescaped(text) or b""
        raw = b"".join(piece.translate(_STANDARD, _WHITE_SPACE) for piece in in_pieces(raw))
        text = raw.decode() if raw.isascii() else ""
        if not _is_base64(text):
            return None
    text = text.rstrip("=")
    return None if len(text) % 4 == 1 else text + "=" * (-len(text) % 4)


def _is_base64(text: str) -> bool:
    bare = text.rstrip("=")
    return (
        bare != ""
        and len(text) - len(bare) <= _MOST_PADDING
        and all(map(_BASE64.fullmatch, in_pieces(bare)))
    )


def in_pieces(data: Data) -> Iterator[Data]:
    """Yield a text, or bytes, a megabyte at a time: no call that looks at one lets another thread run meanwhile."""
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


def _unescaped(text: str) -> bytes | None:
    """Return the bytes of a text in which some are escaped (`%20`); None for too many signs that escape nothing."""
    pieces: list[bytes] = []
    stray, start = 0, 0
    while start < len(text):
        end = start + _PIECE
        sign = text.find("%", end - 2, end)  # the other end of its escape is in the next piece
        end = end if sign < 0 else sign
        raw = text[start:end].encode()
        try:
            piece = _without_escapes(raw)
        except UnicodeDecodeError:  # "100%" is no escape
            stray += raw.count(b"%")
            if stray > _MOST_STRAY_SIGNS:  # urllib takes a tenth of a microsecond for each of them
                return None
            piece = unquote_to_bytes(raw)
        pieces.append(piece)
        start = end
    return b"".join(pieces)


def _without_escapes(raw: bytes) -> bytes:
    # The codec reads `\\x20`, and any other byte as the character of that number.
    escaped = raw.replace(b"\\", rb"\x5c").replace(b"%", rb"\x")
    return escaped.decode("unicode_escape").encode("latin-1")
