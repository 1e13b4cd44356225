"""Responses that are kept: what a request goes on with, and what is kept of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain as chained
from typing import Any, TypeVar

import orjson

from app.answer_store.stored_answer import MOST_CHAIN_BYTES, StoredAnswer
from app.api.input_items import encrypted_content
from app.api.responses.input_list import to_keep, with_distinct_ids
from app.api.responses.request import ResponseBody
from app.api.responses.resource import Heading, lost
from app.backend.request import Item
from app.errors import (
    AnswerNotFound,
    ContextLengthExceeded,
    InvalidRequest,
    RequestPart,
    StoreFailed,
)
from app.http import long_work
from app.http.request_context import current_record
from app.http.request_lifetime import current_lifetime
from app.http.services import services
from app.http.websocket_session import current_session
from app.json_cost import MOST_VALUES, has_too_many_values

_MOST_LOOKUPS = 1000
"""Of one request: one for each response that it refers to, and for each item that is not there."""

_EVENT_BYTES = 120
"""Of a stream, for each byte of its shape: that has two or three for a piece of text, which is an event."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Before:
    """What a request goes on with: the items of the answers that it continues, and those that it refers to, by id.

    `is_local`: only the connection of the request has some of it.
    """

    items: tuple[Any, ...]
    references: Mapping[str, Item]
    is_local: bool = False


def owner() -> str:
    """Return whose answers the request at hand may have."""
    return current_record().key_name or ""


def find(response_id: str, copies: int = 1) -> StoredAnswer:
    """Return a response of the caller's, of which `copies` will be in memory, and its events if more than one. Blocks.

    Raises `AnswerNotFound`, `StoreFailed`, `WorkerBusy`.
    """
    stored = services().answer_store.get(owner(), response_id)
    if stored is None:
        raise _not_found(response_id)
    _hold(*[stored] * copies)
    if copies > 1:
        _hold_bytes(len(stored.shape) * _EVENT_BYTES)
    return stored


def remove(response_id: str) -> None:
    """Remove a response of the caller's. Blocks; raises `AnswerNotFound`, `StoreFailed`."""
    if not services().answer_store.delete(owner(), response_id):
        raise _not_found(response_id)


def shown(stored: StoredAnswer) -> bytes:
    """Return a response as its caller is shown it, as JSON: one that nobody works on any more has failed."""
    if not stored.holder or stored.is_held:
        return stored.answer
    return orjson.dumps(lost(orjson.loads(stored.answer)))


def given_to(response_id: str, take: Callable[[tuple[Item, ...]], Result]) -> Result:
    """Return what `take` makes of the items of a response, those of the answers before it first. Blocks.

    `take` must need nothing of the request. Raises what it raises, `AnswerNotFound`, `StoreFailed`, `WorkerBusy`.
    """
    chain = services().answer_store.chain(owner(), response_id)
    if chain is None:
        raise _not_found(response_id)
    _hold(*chain)
    return long_work.run(lambda: take(_given(chain)))


def _given(chain: tuple[StoredAnswer, ...]) -> tuple[Item, ...]:
    """Return the items of a chain, without the encrypted reasoning and what the last answer made of them."""
    _check_values(chain)
    items: list[Item] = []
    for answer in chain:
        items += orjson.loads(answer.given)
        if answer is not chain[-1]:
            items += map(_without_encrypted, orjson.loads(answer.made))
    return with_distinct_ids(items, chain[0].id)


def _not_found(response_id: str) -> AnswerNotFound:
    if not services().answer_store.is_on:
        return AnswerNotFound("This gateway keeps no responses (PROXY_RESPONSE_STORE=off).")
    return AnswerNotFound(f"Response with id '{response_id[:80]}' not found.")


def look_up(body: ResponseBody) -> Before:
    """Return what a request goes on with. Blocks; raises `InvalidRequest` where it is not there, and `StoreFailed`."""
    session = current_session()
    local, base = (
        ((), body.previous_id) if session is None else session.answers.chain(body.previous_id)
    )
    chain = (*_chain(base, body.previous_id), *local)
    _check_references(body)
    wanted = dict.fromkeys(body.references())
    _hold(*chain)
    others = _with_parts(wanted) if wanted else ()
    before = long_work.run(_read, chain, others, wanted)
    return replace(before, is_local=bool(local))


def _check_references(body: ResponseBody) -> None:
    """Refuse references to items where none can be kept; the SDK that sends them cannot know."""
    if services().answer_store.is_on:
        return
    for index, item in enumerate(body.input):
        if isinstance(item, dict) and item.get("type") == "item_reference":
            raise InvalidRequest(
                f"Unsupported item at 'input[{index}]': this gateway keeps no items to refer to "
                "(PROXY_RESPONSE_STORE=off). Send items whole, as SDKs do with 'store': false.",
                param=f"input[{index}]",
                code="unsupported_parameter",
            )


def _hold(*found: StoredAnswer) -> None:
    """Count what was read like a body, until the request is over. Raises `WorkerBusy` where there is no room."""
    _hold_bytes(sum(answer.cost for answer in found))


def _hold_bytes(size: int) -> None:
    current_record().looked_up_bytes += size
    current_lifetime().on_close(services().bodies.memory.reserve(owner(), size).release)


def _with_parts(wanted: Iterable[str]) -> tuple[StoredAnswer, ...]:
    """Return the answers that have these items in them. Blocks."""
    store, mine = services().answer_store, owner()
    found: dict[str, StoredAnswer] = {}
    known: set[str] = set()
    size = lookups = 0
    for item_id in wanted:
        if item_id in known:
            continue
        lookups += 1
        if lookups > _MOST_LOOKUPS:
            raise InvalidRequest(
                f"Invalid 'input': it refers to items of more than {_MOST_LOOKUPS} responses. Send them whole.",
                param="input",
                code="array_above_max_length",
            )
        answer = store.find(mine, item_id)
        if answer is None or answer.id in found:
            continue
        _hold(answer)
        found[answer.id] = answer
        known |= _by_id(orjson.loads(answer.made)).keys()
        size += answer.cost
        if size > MOST_CHAIN_BYTES:
            raise ContextLengthExceeded(
                f"The conversation is too long to be put together: {MOST_CHAIN_BYTES} bytes are the most.",
                part=RequestPart.PROMPT,
            )
    return tuple(found.values())


def _chain(base: str | None, previous_id: str | None) -> tuple[StoredAnswer, ...]:
    """Return the stored answers up to `base`, which is what the request names or what that stands on."""
    if base is None or previous_id is None:
        return ()
    store = services().answer_store
    if not store.is_on and current_session() is None:
        raise InvalidRequest(
            "Unsupported parameter: 'previous_response_id' is not supported, since this gateway keeps no responses "
            "(PROXY_RESPONSE_STORE=off). Send the whole conversation as 'input'.",
            param="previous_response_id",
            code="unsupported_parameter",
        )
    chain = store.chain(owner(), base) if store.is_on else None
    if chain is None:
        raise InvalidRequest(
            f"Previous response with id '{previous_id[:80]}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if chain[-1].is_held:
        raise InvalidRequest(
            f"Previous response with id '{previous_id[:80]}' is still in progress. Wait until it has ended, or "
            "cancel it.",
            param="previous_response_id",
            code="RESPONSE_IN_PROGRESS",
        )
    return chain


def _read(
    chain: tuple[StoredAnswer, ...],
    others: tuple[StoredAnswer, ...],
    wanted: Mapping[str, None],
) -> Before:
    _check_values((*chain, *others))
    items: list[Any] = []
    known: dict[str, Item] = {}
    for answer in others:
        known |= _by_id(orjson.loads(answer.given)) | _by_id(orjson.loads(answer.made))
    for answer in chain:
        for found in (orjson.loads(answer.given), orjson.loads(answer.made)):
            items += filter(_is_of_use, found)
            known |= _by_id(found)
    references = {item_id: known[item_id] for item_id in wanted if item_id in known}
    return Before(tuple(items), references)


def _check_values(found: Sequence[StoredAnswer]) -> None:
    """Raise `ContextLengthExceeded` for more values than a body may have: texts are cheap to read, items are not."""
    if has_too_many_values(*chained.from_iterable((it.given, it.made) for it in found)):
        raise ContextLengthExceeded(
            f"The conversation is too long to be continued: {MOST_VALUES} JSON values are the most.",
            part=RequestPart.PROMPT,
        )


def _without_encrypted(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "encrypted_content"}


def _is_of_use(item: Item) -> bool:
    """Return True unless it is reasoning that only its maker could read, and nobody could give back."""
    return item.get("type") != "reasoning" or bool(encrypted_content(item))


def _by_id(items: Sequence[Item]) -> dict[str, Item]:
    return {item["id"]: item for item in items if isinstance(item.get("id"), str)}


def is_kept(body: ResponseBody, before: Before) -> bool:
    """Return True if the response is to be kept, and can be: for longer than all that it goes on with."""
    return body.is_stored and services().answer_store.is_on and not before.is_local


def unanswered(body: ResponseBody, before: Before, heading: Heading) -> StoredAnswer:
    """Return what is kept of a request, without an answer yet. Blocks."""
    # As bytes: a stream may last long, and its conversation be large.
    given = long_work.run(to_keep, body.input, heading.id, before.references)
    return StoredAnswer(
        heading.id, owner(), heading.created, body.previous_id, answer=b"", given=given, made=b"[]"
    )


def answered(
    stored: StoredAnswer, response: dict[str, Any], made: Sequence[Item], shape: bytes = b""
) -> StoredAnswer:
    """Return what is kept of a request with its answer; `made` has the items that are needed to go on."""
    return replace(
        stored,
        answer=orjson.dumps(response),
        made=orjson.dumps(made),
        parts=tuple(item["id"] for item in made),
        shape=shape,
        holder="",
    )


def continuable(stored: StoredAnswer, made: Sequence[Item]) -> StoredAnswer:
    """Return what is kept of an answer that nobody can ask for, but go on with."""
    return replace(stored, made=orjson.dumps(made))


Keep = Callable[[dict[str, Any]], None]


def keeper(body: ResponseBody, before: Before, heading: Heading, made: Sequence[Item]) -> Keep:
    """Return what keeps a whole response before its client is told of it, and says in it whether it is kept.

    `made` has the items that are needed to go on, once the response is whole. What is returned blocks.
    """
    session, stores = current_session(), is_kept(body, before)
    if session is None and not stores:
        return lambda _: None
    begun, store = unanswered(body, before, heading), services().answer_store
    if session is not None and not stores:
        return lambda _: session.answers.keep(continuable(begun, made))

    def keep(response: dict[str, Any]) -> None:
        try:
            store.put(answered(begun, response, made))
        except StoreFailed:  # logged and counted by the store; the answer is good all the same
            response["store"] = False

    return keep
