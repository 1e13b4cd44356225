"""Content of a message: a string, or parts of text and images, into codex's content items. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from app.answers.field_errors import (
    invalid_type,
    invalid_value,
    missing,
    required_string,
    unsupported,
)
from app.errors import InvalidRequest
from app.images.media_types import media_type_of

Part = dict[str, Any]
"""One of codex's content items."""

ImageFields = dict[str, str]
"""The address of a remote image to the field that names it first."""

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,([a-z0-9+/_-]+)={0,2}", re.IGNORECASE)


def to_content(content: Any, where: str, kind: str, parts: PartTable) -> list[Part]:
    """Return content items; text becomes `kind` (`input_text`, `output_text`). Raises `InvalidRequest`."""
    if isinstance(content, str):
        return [{"type": kind, "text": content}]
    if not isinstance(content, list):
        raise invalid_type(where, "a string or an array of content parts", content)
    if not content:
        raise InvalidRequest(
            f"Invalid '{where}': empty array. Expected at least one content part.",
            param=where,
            code="empty_array",
        )
    return [_to_part(part, f"{where}[{index}]", kind, parts) for index, part in enumerate(content)]


def to_text(content: Any, where: str) -> str:
    """Return content that may only be text, its parts joined."""
    return "".join(part["text"] for part in to_content(content, where, "text", TEXT_PARTS))


def _to_part(part: Any, where: str, kind: str, parts: PartTable) -> Part:
    if not isinstance(part, dict):
        raise invalid_type(where, "an object", part)
    name = part.get("type")
    if name is None:
        raise missing(f"{where}.type")
    if isinstance(name, str) and name in _NOT_SERVED:
        raise unsupported(f"{where}.{name}")
    convert = parts.get(name) if isinstance(name, str) else None
    if convert is None:
        raise invalid_value(f"{where}.type", name, parts)
    return convert(part, where, kind)


def _text(member: str) -> Callable[[Mapping[str, Any], str, str], Part]:
    def convert(part: Mapping[str, Any], where: str, kind: str) -> Part:
        return {"type": kind, "text": required_string(part, member, where)}

    return convert


def _image(fields: ImageFields) -> Callable[[Mapping[str, Any], str, str], Part]:
    def convert(part: Mapping[str, Any], where: str, _kind: str) -> Part:
        given = part.get("image_url")
        if given is None:
            raise missing(f"{where}.image_url")
        # OpenAI wants an object; several clients send the address alone.
        url = given.get("url") if isinstance(given, dict) else given
        named = f"{where}.image_url.url"
        if url is None:
            raise missing(named)
        if not isinstance(url, str):
            raise invalid_type(named, "a string", url)
        # The caller's `detail` is left out: codex rewrites it, and "low" would drop the image.
        if url[:5].lower() == "data:":
            return {"type": "input_image", "image_url": _data_url(url, named)}
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


def _data_url(url: str, where: str) -> str:
    """Return the image as codex reads it: what it cannot read, it would replace by a remark, without an error."""
    found = _DATA_URL.fullmatch(url)
    # Some clients leave out the padding, or take the alphabet that is made for addresses.
    body = found[1].replace("-", "+").replace("_", "/") if found else ""
    if len(body) % 4 == 1 or not body:
        raise InvalidRequest(
            f"Invalid '{where}': expected a data URL like data:image/png;base64,...", param=where
        )
    body += "=" * (-len(body) % 4)
    kind = media_type_of(b64decode(body[:_HEAD]))
    if kind is None:
        raise InvalidRequest(
            f"The image at '{where}' is none of the supported formats: png, jpeg, gif, webp.",
            param=where,
            code="invalid_image_format",
        )
    return f"data:{kind};base64,{body}"


PartTable = Mapping[str, Callable[[Mapping[str, Any], str, str], Part]]

TEXT_PARTS: PartTable = MappingProxyType({"text": _text("text")})
OUTPUT_PARTS: PartTable = MappingProxyType({"text": _text("text"), "refusal": _text("refusal")})


def input_parts(fields: ImageFields) -> PartTable:
    """Return the parts of what a user says; remote images are noted in `fields`, since they are fetched later."""
    return MappingProxyType({"text": _text("text"), "image_url": _image(fields)})


_NOT_SERVED = frozenset({"input_audio", "file"})
