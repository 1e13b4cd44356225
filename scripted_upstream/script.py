"""Scripted answers, and their reading from JSON. Pure.

A script is a list of responses: the k-th call that matches gets the k-th response, and the last
one repeats (codex may call upstream several times in one turn). Every mistake in the JSON is
refused by name, since a misspelt field would otherwise make a test pass for the wrong reason.
A response with `"from_request": true` has no items: `simple_answer` makes them from each request.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import orjson

from scripted_upstream.failures import (
    FAILURES,
    ErrorEvent,
    FailedEvent,
    Failure,
    Headers,
    HttpFailure,
    WireFailure,
    with_answer,
)
from scripted_upstream.fields import Fields, ScriptError


@dataclass(frozen=True, slots=True)
class Message:
    """An assistant message: text in deltas, then perhaps a refusal part.

    `unsent` is text that only the whole item has: it follows the deltas there and is never sent as one.
    """

    deltas: tuple[str, ...] = ()
    refusal: str | None = None
    phase: str | None = None
    unsent: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A reasoning item: its summary, its raw text, its opaque encrypted content.

    `sealed` is encrypted content that is good only under the item's own id; `unsent` ends the summary without a delta.
    """

    summary_deltas: tuple[str, ...] = ()
    text_deltas: tuple[str, ...] = ()
    encrypted_content: str | None = None
    sealed: str | None = None
    unsent: str = ""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of a client's function; `arguments` is verbatim and need not be JSON."""

    name: str
    arguments: str
    call_id: str | None = None
    argument_chunks: int = 1


@dataclass(frozen=True, slots=True)
class RawItem:
    """Any other output item, passed as it is (kept encoded, so that it can be hashed)."""

    encoded: bytes


Item: TypeAlias = Message | Reasoning | FunctionCall | RawItem


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts to report, also impossible ones; None means computed from the request and the answer."""

    input_tokens: int | None = None
    cached_tokens: int = 0
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """One scripted answer. Times are milliseconds; 0 means as fast as possible. `headers` are the stream's.

    `hold_after` holds after so many deltas, `hold` after the last one, after each, or before the end.
    """

    items: tuple[Item, ...] = ()
    delay_ms: float = 0
    first_delta_ms: float = 0
    interval_ms: float = 0
    usage: Usage = Usage()
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None
    failure: Failure | None = None
    failure_name: str | None = None
    after_deltas: int = 0
    split_seed: int | None = None
    hold_before_headers: bool = False
    hold: Literal["deltas", "each", "end"] | None = None
    hold_after: int = 0
    from_request: bool = False
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Script:
    """At least one response."""

    responses: tuple[Response, ...]

    def response(self, call: int) -> Response:
        """Return the response for the call-th matching call, counted from 0."""
        return self.responses[min(call, len(self.responses) - 1)]


def parse_script(raw: Any) -> Script:
    """Read a script: a list of responses, or one response. Raises `ScriptError`."""
    entries = raw if isinstance(raw, list) else [raw]
    if not entries:
        raise ScriptError("script: at least one response is needed")
    return Script(tuple(_response(entry, f"script[{k}]") for k, entry in enumerate(entries)))


_HOLD = {False: None, True: "deltas", "deltas": "deltas", "each": "each", "end": "end"}

_STATUS = {
    "completed": None,
    "max_output_tokens": "max_output_tokens",
    "content_filter": "content_filter",
}


def _response(raw: Any, where: str) -> Response:
    fields = Fields(raw, where)
    items = fields.take("items", list, [])
    seed = int(fields.count("seed", 0))
    failure_raw = fields.take("failure", (str, dict), None)
    response = Response(
        items=tuple(_item(item, f"{where}.items[{k}]") for k, item in enumerate(items)),
        delay_ms=fields.count("delay_ms", 0),
        first_delta_ms=fields.count("first_delta_ms", 0),
        interval_ms=fields.count("interval_ms", 0),
        usage=_usage(fields.take("usage", dict, {}), f"{where}.usage"),
        incomplete=fields.choice("status", _STATUS, "completed"),
        split_seed=fields.choice("split", {"none": None, "bytes": seed}, "none"),
        hold_before_headers=fields.take("hold_before_headers", bool, False),
        hold=fields.choice("hold", _HOLD, False),
        hold_after=int(fields.count("hold_after", 0)),
        from_request=fields.take("from_request", bool, False),
        headers=tuple(_headers(fields).items()),
    )
    fields.done()
    if response.from_request and response.items:
        raise ScriptError(f"{where}.from_request: excludes items")
    return response if failure_raw is None else _failing(response, failure_raw, f"{where}.failure")


def _usage(raw: Any, where: str) -> Usage:
    fields = Fields(raw, where)
    usage = Usage(
        input_tokens=fields.take("input_tokens", (int, float), None),
        cached_tokens=fields.take("cached_tokens", (int, float), 0),
        cache_write_tokens=fields.take("cache_write_tokens", (int, float), 0),
        output_tokens=fields.take("output_tokens", (int, float), None),
        reasoning_tokens=fields.take("reasoning_tokens", (int, float), None),
    )
    fields.done()
    return usage


def _failing(response: Response, raw: Any, where: str) -> Response:
    fields = Fields({"name": raw} if isinstance(raw, str) else raw, where)
    name = fields.need("name", str)
    failure = FAILURES.get(name)
    if failure is None:
        raise ScriptError(f"{where}.name: expected one of {', '.join(FAILURES)}")
    after = 0
    if isinstance(failure, HttpFailure):
        failure = with_answer(failure, _answer(fields))
    elif not isinstance(failure, WireFailure) or failure.place == "mid_stream":
        after = int(fields.count("after_deltas", 0))
    if isinstance(failure, FailedEvent | ErrorEvent):
        failure = replace(failure, message=fields.take("message", str, failure.message))
    fields.done()
    return replace(response, failure=failure, failure_name=name, after_deltas=after)


def _answer(fields: Fields) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if "body" in fields.left:
        overrides["body"] = fields.left.pop("body")
    if "status" in fields.left:
        overrides["status"] = fields.count("status", 400, least=400)
    return {**overrides, "headers": _headers(fields)}


def _headers(fields: Fields) -> dict[str, str]:
    headers: dict[str, str] = fields.take("headers", dict, {})
    if not all(isinstance(value, str) for value in headers.values()):
        raise ScriptError(f"{fields.where}.headers: expected strings")
    return headers


def _item(raw: Any, where: str) -> Item:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if not isinstance(kind, str):
        raise ScriptError(f"{where}.type: is required")
    read = _ITEMS.get(kind)
    if read is None:
        return RawItem(orjson.dumps(raw))
    fields = Fields(raw, where)
    fields.left.pop("type")
    item = read(fields)
    fields.done()
    return item


def _message(fields: Fields) -> Message:
    deltas = fields.texts("deltas")
    text = fields.take("text", str, "")
    chunk = int(fields.count("chunk", max(1, len(text)), least=1))
    repeat = int(fields.count("repeat", 1, least=1))
    deltas += tuple(text[start : start + chunk] for start in range(0, len(text), chunk))
    return Message(
        deltas=deltas * repeat,
        refusal=fields.take("refusal", str, None),
        phase=fields.take("phase", str, None),
        unsent=fields.take("unsent", str, ""),
    )


def _reasoning(fields: Fields) -> Reasoning:
    return Reasoning(
        summary_deltas=fields.texts("summary_deltas"),
        text_deltas=fields.texts("text_deltas"),
        encrypted_content=fields.take("encrypted_content", str, None),
        sealed=fields.take("sealed", str, None),
        unsent=fields.take("unsent", str, ""),
    )


def _function_call(fields: Fields) -> FunctionCall:
    return FunctionCall(
        name=fields.need("name", str),
        arguments=fields.take("arguments", str, "{}"),
        call_id=fields.take("call_id", str, None),
        argument_chunks=int(fields.count("argument_chunks", 1, least=1)),
    )


_ITEMS: dict[str, Callable[[Fields], Item]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
}
