"""Hook of Schemathesis: bodies ask for a model that is there, or hardly one would come to a turn.

It is loaded by that program, in its own environment, by the name in SCHEMATHESIS_HOOKS.
"""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook  # type: ignore[untyped-decorator]  # not where mypy runs
def map_body(_context: Any, body: Any) -> Any:
    """Return the body with the model, where it names any."""
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        return {**body, "model": "gpt-5.5"}
    return body
