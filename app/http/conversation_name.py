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


_VARIABLES = [(name, f"HTTP_{name.upper().replace('-', '_')}") for name in HEADERS]
"""Their names in WSGI."""


def conversation_name(named: tuple[str, ...] = ()) -> str | None:
    """Return a digest of the names that the request at hand gives its conversation; `named` has those of its body.

    None where there is no name.
    """
    environ = current_request().environ
    names = [*named]
    for name, variable in _VARIABLES:
        if value := environ.get(variable):
            names.append(f"{name}={value}")
    if not names:
        return None
    text = "\0".join(names)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
