"""Compaction of a conversation: what of a request is read for it, and the object that it becomes. Pure.

Shape: OpenAI API reference, "The compacted response object".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.answers.chunks import Chunk
from app.answers.summary import Summary
from app.api.compaction import ORDER, packed
from app.api.members import with_names
from app.api.responses.input_list import listed, with_distinct_ids, with_ids
from app.api.responses.request import ResponseBody, ResponseRequest, parse_body
from app.api.responses.resource import Heading
from app.api.responses.wire import ResponsesWire
from app.backend.request import Item, developer_item
from app.errors import UpstreamRefused

READ = frozenset(
    {
        *("model", "input", "instructions", "previous_response_id", "service_tier", "reasoning"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        *("safety_identifier", "user"),
    }
)
"""Fields of a response that mean something here. Others, which some clients send with them, have no effect."""

_OF_CALLER = ("user", "developer", "system")


def parse_compaction(body: Mapping[str, Any], *, needs_model: bool = True) -> ResponseBody:
    """Check the fields. Raises `InvalidRequest`, which names the first one that is wrong."""
    read = {name: value for name, value in body.items() if name in READ}
    others = (name for name, value in body.items() if name not in READ and value is not None)
    parsed = parse_body(read | {"store": False}, needs_model=needs_model)
    return replace(parsed, ignored=with_names(parsed.ignored, tuple(others)))


def compacting(request: ResponseRequest) -> ResponseRequest:
    """Return the request that asks for a summary in place of an answer."""
    return replace(request, items=(*request.items, developer_item(ORDER)))


class CompactionWire(ResponsesWire):
    """Rendering of a compaction, which is no stream: see `app.http.wire.Wire`.

    `before` and `given` are the items of the conversation; the messages of its caller stay as they are.
    """

    __slots__ = ("_heading_of", "_kept")

    def __init__(
        self,
        heading: Heading,
        request: ResponseRequest,
        before: Sequence[Item],
        references: Mapping[str, Item],
    ) -> None:
        super().__init__(heading, request)
        self._heading_of = heading
        given = with_ids(request.body.input, heading.id, references)
        kept = [item for item in (*before, *given) if item.get("role") in _OF_CALLER]
        self._kept = with_distinct_ids(kept, heading.id)

    def whole(self, chunks: Iterable[Chunk], summary: Summary) -> dict[str, Any]:
        """Return the compacted conversation. Raises `UpstreamRefused` where the model wrote no summary."""
        response = super().whole(chunks, summary)
        said = (item["content"] for item in response["output"] if item["type"] == "message")
        text = "".join(part.get("text", "") for content in said for part in content)
        if response["status"] != "completed" or not text.strip():
            raise UpstreamRefused("The model wrote no summary of the conversation.")
        heading = self._heading_of
        item = {
            "id": f"cmp_{heading.id.removeprefix('resp_')}",
            "type": "compaction",
            "encrypted_content": packed(text),
        }
        return {
            "id": heading.id,
            "object": "response.compaction",
            "created_at": heading.created,
            "output": [*listed(self._kept), item],
            "usage": response["usage"],
            "codex_metadata": response["codex_metadata"],
        }
