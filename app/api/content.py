"""Content of a message: a string, or parts of text, images and files, into codex's content items. Pure.

Chat completions and the Responses API have names of their own for the same parts. Each route reads both, since clients
mix them; what an error lists are the names of its own (`PartNames`).

What cannot be read is refused where a caller says it, and left out where a conversation repeats it: else one picture
in a format that nobody reads would block everything after it. See `Past`.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from app.answers.field_errors import (
    checked_length,
    invalid_type,
    invalid_value,
    missing,
    required_string,
    unsupported,
)
from app.api.data_urls import canonical_base64, in_pieces, parse_data_url
from app.api.file_text import READABLE, framed, parse_file, quoted_name, text_of
from app.errors import InvalidRequest
from app.images.dimensions import HEAD_BYTES, JPEG, MOST_PIXELS, pixels_of
from app.images.media_types import UNDECLARED, media_type_of

Part = dict[str, Any]
"""One of codex's content items."""

ImageFields = dict[str, str]
"""The address of a remote image to the field that names it first."""


@dataclass(slots=True)
class PixelCount:
    """Pixels of the images that a request has in it."""

    total: int = 0


@dataclass(slots=True)
class Past:
    """What was found in the part of a conversation that the model has answered already.

    `root` is the request's field that has the conversation. `images` has the fields of remote images, by address.
    `unread` has the dotted names of parts that could not be read.
    """

    root: str = "messages"
    images: ImageFields = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)

    def note(self, part: Mapping[str, Any]) -> str:
        """Note a part that cannot be read, and return what the model is told in its place."""
        name = str(part["type"])[:_SHOWN_TYPE]
        self.unread[f"{self.root}.content.{name}"] = None
        file = part.get("file", part)
        title = quoted_name(file.get("filename")) if isinstance(file, dict) else ""
        what = f"The file {title}" if title else _CALLED.get(name, "A part of this message")
        return f"[{what} could not be read and was left out.]"


_SHOWN_TYPE = 64
_CALLED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("file", "input_file"), "A file"),
        **dict.fromkeys(("image_url", "input_image"), "An image"),
        "input_audio": "A recording",
    }
)

Convert: TypeAlias = Callable[[Mapping[str, Any], str, str], Part]
"""Makes a content item of a part that stands at a place, text as the kind that is given."""


@dataclass(frozen=True, slots=True)
class PartTable:
    """Kinds of parts that are read, with what reads them. `named` are those that an error lists."""

    read: Mapping[str, Convert]
    named: tuple[str, ...]


def to_content(
    content: Any, where: str, kind: str, parts: PartTable, past: Past | None = None
) -> list[Part]:
    """Return content items; text becomes `kind` (`input_text`, `output_text`). Raises `InvalidRequest`.

    With `past`, a part other than text that cannot be read is noted there, and a remark stands in its place; among the
    model's own words nothing does.
    """
    if isinstance(content, str):
        return [{"type": kind, "text": checked_length(content, where)}]
    if not isinstance(content, list):
        raise invalid_type(where, "a string or an array of content parts", content)
    if not content:
        raise InvalidRequest(
            f"Invalid '{where}': empty array. Expected at least one content part.",
            param=where,
            code="empty_array",
        )
    if past is None:
        return [
            _to_part(part, f"{where}[{index}]", kind, parts) for index, part in enumerate(content)
        ]
    read = [
        _to_past_part(part, f"{where}[{index}]", kind, parts, past)
        for index, part in enumerate(content)
    ]
    return [part for part in read if part is not None] or [{"type": kind, "text": ""}]


def to_text(content: Any, where: str, past: Past | None = None) -> str:
    """Return content that may only be text, its parts joined."""
    parts = to_content(content, where, "text", ONLY_TEXT, past)
    return checked_length("".join(part["text"] for part in parts), where)


def _to_part(part: Any, where: str, kind: str, parts: PartTable) -> Part:
    if not isinstance(part, dict):
        raise invalid_type(where, "an object", part)
    name = part.get("type")
    if name is None:
        raise missing(f"{where}.type")
    convert = parts.read.get(name) if isinstance(name, str) else None
    if convert is not None:
        return convert(part, where, kind)
    if isinstance(name, str) and name in _NOT_SERVED:
        raise unsupported(f"{where}.{name}")
    raise invalid_value(f"{where}.type", name, parts.named)


def _to_past_part(part: Any, where: str, kind: str, parts: PartTable, past: Past) -> Part | None:
    try:
        return _to_part(part, where, kind, parts)
    except InvalidRequest:
        name = part.get("type") if isinstance(part, dict) else None
        if not isinstance(name, str) or not name or name in _WORDS:
            raise
        remark = past.note(part)
    return None if kind == "output_text" else {"type": kind, "text": remark}


def _text(member: str) -> Convert:
    def convert(part: Mapping[str, Any], where: str, kind: str) -> Part:
        text = required_string(part, member, where)
        return {"type": kind, "text": checked_length(text, f"{where}.{member}")}

    return convert


# Images


def _image(fields: ImageFields, count: PixelCount, member: str) -> Convert:
    """Return what reads an image; `member` is the dotted name of its address."""

    def convert(part: Mapping[str, Any], where: str, _kind: str) -> Part:
        given = part.get("image_url")
        if given is None:
            if part.get("file_id") is not None:
                raise _no_file(f"{where}.file_id", "image")
            raise missing(f"{where}.image_url")
        # Chat completions have an object; the Responses API, and several clients, the address alone.
        url = given.get("url") if isinstance(given, dict) else given
        named = f"{where}.{member}"
        if url is None:
            raise missing(named)
        if not isinstance(url, str):
            raise invalid_type(named, "a string", url)
        # The caller's `detail` is left out: codex rewrites it, and "low" would drop the image.
        if url[:5].lower() == "data:":
            return {"type": "input_image", "image_url": _data_url(url, named, count)}
        if not url.startswith(("http://", "https://")):
            raise InvalidRequest(
                f"Invalid '{named}': expected an http(s) address or a data URL of an image.",
                param=named,
            )
        fields.setdefault(url, named)
        return {"type": "input_image", "image_url": url}

    return convert


_HEAD = 16
"""Characters of base64 that hold every magic number."""


def _data_url(url: str, where: str, count: PixelCount) -> str:
    """Return the image as codex reads it: what it cannot read, it would replace by a remark, without an error."""
    found = parse_data_url(url)
    body = None
    if (
        found
        and found.is_base64
        and (found.media_type[:6] == "image/" or found.media_type in UNDECLARED)
    ):
        body = canonical_base64(found.data)
    if body is None:
        raise InvalidRequest(
            f"Invalid '{where}': expected a data URL like data:image/png;base64,...", param=where
        )
    kind = media_type_of(b64decode(body[:_HEAD]))
    if kind is None:
        raise InvalidRequest(
            f"The image at '{where}' is none of the supported formats: png, jpeg, gif, webp.",
            param=where,
            code="invalid_image_format",
        )
    count.total += _checked_pixels(kind, body, where)
    return f"data:{kind};base64,{body}"


def _checked_pixels(kind: str, body: str, where: str) -> int:
    text = body if kind == JPEG else body[: HEAD_BYTES // 3 * 4]
    pixels = pixels_of(b"".join(map(b64decode, in_pieces(text))))
    if pixels is None:
        raise InvalidRequest(
            f"The image at '{where}' is damaged: it does not say how large it is.",
            param=where,
            code="image_parse_error",
        )
    if pixels > MOST_PIXELS:
        raise InvalidRequest(
            f"The image at '{where}' has too many pixels: {pixels}, and at most {MOST_PIXELS} are accepted.",
            param=where,
            code="image_too_large",
        )
    return pixels


def _no_file(where: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"Unsupported {what} at '{where}': this gateway keeps no files. Send its data, or an address.",
        param=where,
        code="unsupported_parameter",
    )


# Files


def _wrapped_file(part: Mapping[str, Any], where: str, kind: str) -> Part:
    given = part.get("file")
    return _file(given if isinstance(given, dict) else {}, f"{where}.file", kind)


def _file(members: Mapping[str, Any], at: str, kind: str) -> Part:
    """Return a file of text as text."""
    data, name = members.get("file_data"), members.get("filename")
    if not isinstance(data, str):
        if members.get("file_id") is not None:
            raise _unreadable(at, "this gateway keeps no files, so it has none of this 'file_id'")
        if members.get("file_url") is not None:
            raise _unreadable(at, "this gateway does not download files")
        raise _unreadable(at, "it has no 'file_data'")
    file = parse_file(data)
    if file is None:
        raise _unreadable(at, "its 'file_data' is no data URL like data:text/plain;base64,...")
    text = text_of(file)
    if text is None:
        raise _unreadable(
            at, f"it is not readable as text ({file.media_type[:60] or 'of no declared type'})"
        )
    return {"type": kind, "text": checked_length(framed(text, name, file.media_type), at)}


def _unreadable(where: str, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"Unsupported file at '{where}': {reason}. Files that are read here: {READABLE}. "
        "Send the file's text, or images of it.",
        param=where,
        code="unsupported_parameter",
    )


_TEXT = _text("text")
_TEXTS: Mapping[str, Convert] = dict.fromkeys(("text", "input_text", "output_text"), _TEXT)
_NOT_SERVED = frozenset({"input_audio", "file", "input_file"})
_WORDS = frozenset({*_TEXTS, "refusal"})
"""Parts that say something: what is wrong with one is a mistake wherever it stands."""


ONLY_TEXT = PartTable(_TEXTS, ("text",))


@dataclass(frozen=True, slots=True)
class PartNames:
    """An endpoint's own names for the parts of a message, for errors; `image` is that of an image's address."""

    text: str
    said: tuple[str, ...]
    image_kind: str
    image: str
    file: str

    def output(self) -> PartTable:
        """Return the parts of what the model has said."""
        return PartTable({**_TEXTS, "refusal": _text("refusal")}, self.said)

    def input(self, fields: ImageFields, count: PixelCount | None = None) -> PartTable:
        """Return the parts of what a user says; remote images are noted in `fields`, since they are fetched later.

        `count` is of the others.
        """
        images = _image(fields, count or PixelCount(), self.image)
        files: Mapping[str, Convert] = {"file": _wrapped_file, "input_file": _file}
        read = {**_TEXTS, **dict.fromkeys(("image_url", "input_image"), images), **files}
        return PartTable(read, (self.text, self.image_kind, self.file))


CHAT_PARTS = PartNames("text", ("text", "refusal"), "image_url", "image_url.url", "file")
RESPONSE_PARTS = PartNames(
    "input_text", ("output_text", "refusal"), "input_image", "image_url", "input_file"
)
