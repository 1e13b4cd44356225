"""Name of a conversation, where its client has one: in the body, or in the headers of agents and chat programs.

It only ever keeps apart what else would be taken for one conversation, so anything that stays the same in one will do.
"""

from __future__ import annotations

from hashlib import blake2b

from app.http.request_context import current_request

HEADERS = (
    "Session-Id",
    "X-Session-Id",
    "X-Session-Affinity",
    "X-Conversation-Id",
    "X-OpenWebUI-Chat-Id",
)


def conversation_name(named: tuple[str, ...] = ()) -> str | None:
    """Return a digest of the names that the request at hand gives its conversation; `named` has those of its body.

    None where there is no name.
    """
    headers = current_request().headers
    in_headers = ((name, headers.get(name)) for name in HEADERS)
    names = (*named, *(f"{name}={value}" for name, value in in_headers if value))
    if not names:
        return None
    text = "\0".join(names)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
