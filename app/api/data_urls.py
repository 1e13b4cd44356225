"""Data URLs (RFC 2397) as clients really send them: with parameters, line breaks, other alphabets. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_PARAMETER = r';[^,;"]*(?:"[^"]*"[^,;"]*)?'
_HEAD = re.compile(rf'data:([^,;"]*)((?:{_PARAMETER})*),', re.IGNORECASE)
_PARAMETERS = re.compile(_PARAMETER)
_TYPE = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+")
_BASE64 = re.compile(r"[a-zA-Z0-9+/]+={0,2}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = b" \t\n\r\f\v"

_LONGEST_HEAD = 4096
"""Characters before the data: a type, and parameters such as a file's name."""

_MOST_STRAY_SIGNS = 100_000


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
        return None if text is None else b64decode(text)


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
    if not _BASE64.fullmatch(text):
        raw = _unescaped(text) or b""
        text = raw.translate(_STANDARD, _WHITE_SPACE).decode("ascii", "replace")
        if not _BASE64.fullmatch(text):
            return None
    text = text.rstrip("=")
    return None if len(text) % 4 == 1 else text + "=" * (-len(text) % 4)


def _unescaped(text: str) -> bytes | None:
    """Return the bytes of a text in which some are escaped (`%20`); None for too many signs that escape nothing.

    urllib takes a tenth of a microsecond for each of them, and a file may have millions.
    """
    raw = text.encode()
    try:
        # The codec reads `\\x20`, and any other byte as the character of that number.
        escaped = raw.replace(b"\\", rb"\x5c").replace(b"%", rb"\x")
        return escaped.decode("unicode_escape").encode("latin-1")
    except UnicodeDecodeError:  # "100%" is no escape
        return unquote_to_bytes(raw) if raw.count(b"%") <= _MOST_STRAY_SIGNS else None
