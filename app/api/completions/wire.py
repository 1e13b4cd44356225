"""Wire of completions: chunks to `text_completion` objects, which a stream and a whole answer share. Pure.

Shapes: OpenAI API reference, "The completion object".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.answers.chunks import Began, Chunk, Cost, Ended, Refusal, Text, TextPieces, in_pieces
from app.answers.summary import Summary
from app.api.choices_wire import ChoicesWire, Envelope, render_usage


class CompletionWire(ChoicesWire):
    """Rendering of one answer. `echoes` has the text that each choice begins with, by index."""

    __slots__ = ("_echoes",)

    def __init__(self, envelope: Envelope, echoes: tuple[str, ...]) -> None:
        super().__init__(envelope, "text_completion")
        self._echoes = echoes

    def _render(
        self, chunk: Chunk, batch: Sequence[Chunk], summary: Callable[[], Summary]
    ) -> Iterable[bytes]:
        match chunk:
            case Began(index=index):
                self._open.append(index)
                if echo := self._echoes[index]:
                    return self._whole_text(index, echo)
            case TextPieces(index=index, texts=texts):
                return (self._object([_choice(index, text, None)]) for text in texts)
            case Text(index=index, text=text):
                return (self._object([_choice(index, text, None)]),)
            case Refusal(index=index, text=text):
                return self._whole_text(index, text)
            case Ended(index=index, cause=cause):
                self._end(index)
                choice = _choice(index, "", self.reason(cause))
                return (self._object([choice], codex_metadata=summary().metadata()),)
            case Cost(usage=usage) if self._include_usage:
                return (self._object([], usage=render_usage(usage)),)
        return ()

    def _whole_text(self, index: int, text: str) -> Iterable[bytes]:
        return [self._object([_choice(index, piece, None)]) for piece in in_pieces(text)]

    def _silence(self, index: int) -> dict[str, Any]:
        return _choice(index, "", None)

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the whole answer that the chunks add up to."""
        texts = [[echo] for echo in self._echoes]
        reasons = ["stop"] * len(texts)
        usage = None
        for chunk in chunks:
            match chunk:
                case Text(index=index, text=text) | Refusal(index=index, text=text):
                    texts[index].append(text)
                case Ended(index=index, cause=cause):
                    reasons[index] = self.reason(cause)
                case Cost(usage=counted):
                    usage = render_usage(counted)
        ends = enumerate(zip(texts, reasons, strict=True))
        return {
            **self._whole_head(summary),
            "choices": [_choice(index, "".join(said), why) for index, (said, why) in ends],
            "usage": usage,
            "codex_metadata": summary.metadata(),
        }


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
