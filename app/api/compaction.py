"""Compaction item: a summary of a conversation, in the place of what it sums up. Pure.

codex hands on what an upstream has compacted and has no way to ask for it, so this gateway's summaries are written by
the model, in an ordinary turn. The item has the text itself, packed and not encrypted: its caller knows the
conversation anyway, and so every worker and replica can read it.
"""

from __future__ import annotations

import base64
import binascii
import zlib

_MARK = "codex-api-summary-1:"
MOST_BYTES = 1 << 20
"""Of all summaries of one request: far more than any has, and little to unpack."""

ORDER = (
    "This conversation will be continued without most of what is above. Write down for whoever continues it what "
    "they need: what the user wants and has ruled out, what was decided and why, what was done and what came of it, "
    "with the names, numbers, paths and quotations that matter, and what is still to do. Write only this text: answer "
    "nothing, and call nothing."
)
"""What the model is told at the end of the conversation."""

_PREFACE = "Summary of the conversation so far, written by the model that had it:\n\n"


def packed(summary: str) -> str:
    """Return the `encrypted_content` of a summary."""
    return _MARK + base64.b64encode(zlib.compress(summary.encode())).decode()


def unpacked(content: str, most: int = MOST_BYTES) -> str | None:
    """Return what the model is told in the place of the item, None for the item of another maker.

    Raises `ValueError` for one of ours that is damaged, or has more than `most` bytes.
    """
    if not content.startswith(_MARK):
        return None
    try:
        unpacker = zlib.decompressobj()
        data = base64.b64decode(content.removeprefix(_MARK), validate=True)
        text = unpacker.decompress(data, most + 1)  # 0 would be no limit
        if not unpacker.eof or len(text) > most:
            raise ValueError("cut off, or too long")
        return _PREFACE + text.decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError("damaged") from error
