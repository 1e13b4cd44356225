"""Text of a file that a caller attached: which files are text, and how the model is shown one. Pure.

The models behind codex take text and images. A file of text is therefore put into the message, in a fence that is
longer than any in it, so that nothing in the file can look like the end of it.
"""

from __future__ import annotations

from codecs import BOM_UTF8, iterdecode

import orjson

from app.api.data_urls import DataUrl, canonical_base64, in_pieces, parse_data_url
from app.images.media_types import UNDECLARED

READABLE = "text/*, JSON, XML, YAML, CSV, JavaScript and other text in UTF-8"

_TEXT_TYPES = frozenset(
    {
        *("application/json", "application/ld+json", "application/x-ndjson", "application/jsonl"),
        *("application/json5", "application/jsonc", "application/xml", "application/xhtml+xml"),
        *("application/yaml", "application/x-yaml", "application/toml", "application/x-toml"),
        *("application/javascript", "application/x-javascript", "application/ecmascript"),
        *("application/typescript", "application/x-typescript", "application/csv"),
        *("application/x-csv", "application/markdown", "application/x-markdown"),
        *("application/sql", "application/x-sql", "application/graphql", "application/x-sh"),
        *("application/x-shellscript", "application/x-python", "application/x-python-code"),
        *("application/x-php", "application/x-httpd-php", "application/x-ruby"),
        *("application/x-perl", "application/x-tex", "application/x-latex", "application/x-ini"),
        *("application/x-subrip", "application/x-powershell", "application/x-diff"),
        *("application/x-patch", "application/x-httpd-php-source", "application/x-go"),
        *("application/x-rust", "application/x-java-source", "application/x-properties"),
        "message/rfc822",
    }
)
_TEXT_SUFFIXES = ("+json", "+xml", "+yaml")
_CHARSETS = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"}
)
_BINARY = bytes({*range(0x20)} - {*b"\t\n\v\f\r\x1b"})
_CONTROLS = bytes({*range(0x20)} - {*b"\b\t\n\f\r"})  # six bytes of JSON each
_MOST_CONTROLS = 4  # one in so many
_PDF = b"%PDF-"
_FENCE = "```"
_LONG_FENCE = 16
_LONGEST_FENCE = 1024
_SHOWN_NAME = 200


def parse_file(data: str) -> DataUrl | None:
    """Return the file of a `file_data`: a data URL, or base64 alone; None if it is neither."""
    if found := parse_data_url(data.strip()):
        return found
    return DataUrl("", {}, True, data) if canonical_base64(data) is not None else None


def text_of(file: DataUrl) -> str | None:
    """Return the text of a file, None if its type is not text or it does not decode, or is hardly text.

    A file of no declared type is text if it reads as such. No text is one of control characters, or has a thousand
    backticks in a row, which would need a fence that is longer.
    """
    kind = file.media_type
    if kind not in UNDECLARED and not _is_text(kind):
        return None
    raw = file.content()
    if raw is None or (kind in UNDECLARED and _is_binary(raw)) or _is_mostly_controls(raw):
        return None
    if _FENCE[:1].encode() * _LONGEST_FENCE in raw:
        return None
    charset = file.parameters.get("charset", "utf-8").lower()
    pieces = in_pieces(raw.removeprefix(BOM_UTF8))
    try:
        return "".join(iterdecode(pieces, charset if charset in _CHARSETS else "utf-8"))
    except UnicodeDecodeError:
        return None


def _is_mostly_controls(raw: bytes) -> bool:
    """True where so many bytes are no text that writing it as JSON would multiply its size."""
    controls = sum(len(piece) - len(piece.translate(None, _CONTROLS)) for piece in in_pieces(raw))
    return controls * _MOST_CONTROLS > len(raw)


def _is_binary(raw: bytes) -> bool:
    return raw.startswith(_PDF) or any(
        len(piece.translate(None, _BINARY)) < len(piece) for piece in in_pieces(raw)
    )


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(_TEXT_SUFFIXES)


def quoted_name(name: object) -> str:
    """Return a file's name in quotes and on one line, cut if it is long; empty if there is none."""
    if not isinstance(name, str) or not name:
        return ""
    return orjson.dumps(name[:_SHOWN_NAME]).decode()


def framed(text: str, name: object, media_type: str) -> str:
    """Return the text as the model is shown it, below a line that names the file."""
    fence = _FENCE
    while fence in text:  # doubled once it is long: a file may be nothing but backticks
        fence += "`" if len(fence) < _LONG_FENCE else fence
    shown, kind = quoted_name(name), f" ({media_type})" if media_type else ""
    end = "" if text.endswith("\n") else "\n"
    return f"File{f' {shown}' if shown else ''}{kind}:\n{fence}\n{text}{end}{fence}"
