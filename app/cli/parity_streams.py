"""Streams as `codex parity` compares them: the order of what comes, deltas joined, and how many pieces they came in.

Pure. Reads the server-sent events of chat completions, completions and responses. What only keeps a stream open (a
frame that adds nothing) is left out: it is a matter of time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

DONE = "[DONE]"
_JOINED = frozenset({"content", "text", "refusal", "reasoning_content", "arguments"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_BESIDE = frozenset({"codex_metadata", "obfuscation"})


@dataclass(slots=True)
class Stream:
    """One stream. `order` is by choice (`choice 0`), or `events` where frames have types; a run of one kind is one.

    `pieces` counts the deltas of each kind, `members` has the names of what frames of each type hold, and `joined` is
    the answer that a client puts together: by choice, or the response at the end.
    """

    order: dict[str, list[str]] = field(default_factory=dict)
    pieces: Counter[str] = field(default_factory=Counter)
    members: dict[str, set[str]] = field(default_factory=dict)
    joined: dict[str, Any] = field(default_factory=dict)

    def comes(self, where: str, kind: str) -> None:
        """Note that a frame of this kind came; one more of the same run adds nothing."""
        order = self.order.setdefault(where, [])
        if order[-1:] != [kind]:
            order.append(kind)


def read_stream(body: bytes) -> Stream:
    """Return what the body of a `text/event-stream` holds. Raises `ValueError` where a frame is no JSON object."""
    stream = Stream()
    for data in _data(body):
        if data == DONE.encode():
            stream.comes("end", DONE)
            continue
        frame = orjson.loads(data)
        if not isinstance(frame, dict):
            raise ValueError("a frame is no object")  # noqa: TRY004 - of a text, not of an argument
        kind = str(frame.get("type", ""))
        if kind and "choices" not in frame:
            _typed(stream, kind, frame)
        else:
            _chunk(stream, frame)
    return stream


def _data(body: bytes) -> Iterator[bytes]:
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line[:5] == b"data:"]
        if lines:
            yield b"\n".join(lines)


def _typed(stream: Stream, kind: str, frame: Mapping[str, Any]) -> None:
    """Take an event of the Responses API."""
    delta = frame.get("delta")
    is_again = kind == "response.in_progress" and kind in stream.members
    if is_again or delta == "":
        return
    stream.members.setdefault(kind, set()).update(frame.keys() - _BESIDE)
    stream.comes("events", kind)
    if isinstance(delta, str):
        stream.pieces[kind] += 1
    if kind in _ENDS:
        stream.joined["response"] = frame.get("response")


def _chunk(stream: Stream, frame: Mapping[str, Any]) -> None:
    """Take a chunk of a chat completion or a completion, or an error in place of one."""
    stream.members.setdefault("chunk", set()).update(frame.keys() - _BESIDE)
    for name in ("object", "model", "usage", "error"):
        if frame.get(name) is not None:
            stream.joined[name] = frame[name]
    for name in ("error", "usage"):
        if frame.get(name) is not None:
            stream.comes("end", name)
    for choice in frame.get("choices") or ():
        _choice(stream, choice)


def _choice(stream: Stream, choice: Mapping[str, Any]) -> None:
    where = f"choice {choice.get('index')}"
    delta = choice.get("delta") or {name: choice[name] for name in ("text",) if name in choice}
    for kind in _kinds(delta):
        stream.comes(where, kind)
        stream.pieces[kind] += 1
    so_far = stream.joined.setdefault("choices", {}).setdefault(where, {})
    _join(so_far, delta)
    if choice.get("finish_reason"):
        stream.comes(where, "finish")
        so_far["finish_reason"] = choice["finish_reason"]


def _kinds(delta: Mapping[str, Any]) -> Iterable[str]:
    """Yield what a delta adds; the empty content beside a role depends on what is known when it is sent."""
    return (name for name, value in delta.items() if value not in ("", None))


def _join(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add a delta to what came before it, as SDKs do: texts are joined, entries of lists found by their index."""
    for name, value in delta.items():
        if isinstance(value, Mapping):
            _join(whole.setdefault(name, {}), value)
        elif isinstance(value, list):
            entries = whole.setdefault(name, {})
            for entry in value:
                _join(entries.setdefault(str(entry.get("index")), {}), entry)
        elif name in _JOINED and isinstance(value, str):
            if value:
                whole[name] = (whole.get(name) or "") + value
        elif value is not None:
            whole[name] = value
