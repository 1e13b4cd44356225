"""Start of ChatMock with another upstream than OpenAI's: `chatmock_start.py RESPONSES_URL PORT`.

Runs in ChatMock's own environment. It has no setting for the address, so that the constant is replaced wherever it was
imported to; and it asks for a login, so that it is given one that nobody ever issued.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from pathlib import Path

_ADDRESS = "CHATGPT_RESPONSES_URL"


def _token() -> str:
    """Return a token in the form of OpenAI's, without a signature."""
    account = {"chatgpt_account_id": "bench", "chatgpt_plan_type": "plus"}
    claims = {"exp": int(time.time()) + 86_400, "https://api.openai.com/auth": account}
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "x"])


def main() -> None:
    """Write the login, replace the address, serve."""
    url, port = sys.argv[1:]
    tokens = dict.fromkeys(("id_token", "access_token", "refresh_token"), _token())
    login = {"tokens": {**tokens, "account_id": "bench"}, "last_refresh": "2100-01-01T00:00:00Z"}
    Path(os.environ["CHATGPT_LOCAL_HOME"], "auth.json").write_text(
        json.dumps(login), encoding="utf-8"
    )
    import chatmock.app  # noqa: PLC0415 - only here, in its own environment

    for name, loaded in list(sys.modules.items()):
        if name.startswith("chatmock") and hasattr(loaded, _ADDRESS):
            setattr(loaded, _ADDRESS, url)
    chatmock.app.create_app().run(host="127.0.0.1", port=int(port), threaded=True)


if __name__ == "__main__":
    main()
