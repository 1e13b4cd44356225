"""Shape of a stream: how it began, and in which pieces each of its texts came. Pure.

With it and the response itself all of the stream can be told again, each event under the number that it had. Some bytes
for each piece, where the events are hundreds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_DELTA = ".delta"
_CONTENT = "response.reasoning_text.delta"


class Shape:
    """See the module. `begun` is the number of events before the first item.

    `texts` has a list for each text, in their order: 1 if it is content of reasoning (a summary may come before it or
    after it), else 0; and the length of each piece, in characters.
    """

    __slots__ = ("_text", "begun", "texts")

    def __init__(self, begun: int = 0, texts: list[list[int]] | None = None) -> None:
        self.begun, self.texts = begun, texts or []
        self._text: tuple[Any, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Shape | None:
        """Return the shape that `dump` wrote, None for that of a stream of which none was noted."""
        return cls(**orjson.loads(data)) if data else None

    def dump(self) -> bytes:
        """Return it as JSON."""
        return orjson.dumps({"begun": self.begun, "texts": self.texts})

    def note(self, event: Mapping[str, Any]) -> None:
        """Note the next event."""
        kind = event["type"]
        if not kind.endswith(_DELTA):
            return
        place = event.get("content_index", event.get("summary_index"))
        text = (event["output_index"], kind, place)
        if text != self._text:
            self._text = text
            self.texts.append([int(kind == _CONTENT)])
        self.texts[-1].append(len(event["delta"]))

    def note_more(self, piece: str) -> None:
        """Note one more piece of the text that the last event was a piece of."""
        self.texts[-1].append(len(piece))
