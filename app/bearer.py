"""Bearer keys: whose key an `Authorization` header has, and what is said where it is nobody's.

For the gateway and for what stands in front of it (`forward_auth`), so that both judge alike. Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

CHALLENGE = 'Bearer realm="api"'
"""Value of `WWW-Authenticate` beside a refusal."""


def caller_name(keys: Mapping[str, bytes], authorization: str) -> str | None:
    """Return the name of the key in such a header, None if it is none of these. Constant time."""
    scheme, _, token = authorization.partition(" ")
    offered = token.strip().encode("utf-8", "surrogateescape")
    found = None
    for name, key in keys.items():  # all of them: the time must not tell which one was close
        if hmac.compare_digest(offered, key) and scheme.lower() == "bearer":
            found = name
    return found


def refusal(authorization: str) -> str:
    """Return the sentence for a caller with this header, which has no key of ours."""
    if authorization:
        return "Incorrect API key provided. Ask this gateway's operator for a key."
    return (
        "You didn't provide an API key. Send it in an Authorization header with Bearer auth "
        "(Authorization: Bearer YOUR_KEY)."
    )
