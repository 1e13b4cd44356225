"""OpenAI as a ChatGPT login sees it: tokens that are renewed once each, and a Responses API that knows the latest.

Runs in a thread of its own, over real HTTP. `renewals` has every attempt to renew: the refresh token that was offered,
and whether it was good. `turns` has the access token of every turn. `others` has every other request.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from app.codex.launch import Launcher
from app.process.child import ChildSpec

_HOUR_S = 3600


def token(name: str, good_for_s: int = _HOUR_S) -> str:
    """Return an unsigned JWT of a Pro account that is good for an hour, unless told otherwise."""
    account = {"chatgpt_plan_type": "pro", "chatgpt_account_id": "acc", "chatgpt_user_id": "u"}
    claims = {
        "exp": int(time.time()) + good_for_s,
        "name": name,
        "email": "operator@example.com",
        "https://api.openai.com/auth": account,
    }
    parts = [json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode(), b"unsigned"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def name_of(header: str) -> str:
    """Return the name of the token in an Authorization header; empty if there is none."""
    parts = header.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return ""
    return str(json.loads(base64.urlsafe_b64decode(parts[1] + "=="))["name"])


class Accounts(ThreadingHTTPServer):
    """See the module. Access tokens in `refused` are answered 401; a renewal waits for `may_renew`.

    `failure` is an HTTP status that renewals are answered with instead; it spends nothing, and 200 holds no tokens.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.renewals: list[tuple[str, bool]] = []
        self.turns: list[str] = []
        self.others: list[str] = []
        self.refused: set[str] = set()
        self.failure: int | None = None
        self.may_renew = threading.Event()
        self.may_renew.set()
        self._good = {"refresh-0"}
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def write_login(self, path: Path, last_refresh: str, good_for_s: int = _HOUR_S) -> None:
        """Write the first login as codex does; it renews one by itself that ends within five minutes."""
        tokens = {
            "id_token": token("id"),
            "access_token": token("access-0", good_for_s),
            "refresh_token": "refresh-0",
            "account_id": "acc",
        }
        login = {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": last_refresh}
        path.write_text(json.dumps(login))
        path.chmod(0o600)

    def renew(self, offered: str) -> tuple[int, Any]:
        """Exchange a refresh token, once."""
        with self._lock:
            if self.failure is not None:
                self.renewals.append((offered, False))
                words = {"error": {"message": "out of order"}}
                return self.failure, {} if self.failure == 200 else words
            is_good = offered in self._good
            self._good.discard(offered)
            self.renewals.append((offered, is_good))
            number = len(self.renewals)
        if not is_good:
            return 401, {"error": {"code": "refresh_token_reused", "message": "used before"}}
        self.may_renew.wait(20)
        with self._lock:
            self._good.add(f"refresh-{number}")
        return 200, {
            "id_token": token("id"),
            "access_token": token(f"access-{number}"),
            "refresh_token": f"refresh-{number}",
        }


class _Handler(BaseHTTPRequestHandler):
    server: Accounts

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/oauth/token":
            self._answer(*self.server.renew(json.loads(body)["refresh_token"]))
        elif self.path == "/v1/responses":
            self._respond(name_of(self.headers.get("Authorization", "")))
        else:
            self.server.others.append(f"POST {self.path}")
            self._answer(404, {})

    def do_GET(self) -> None:
        self.server.others.append(f"GET {self.path}")
        self._answer(404, {})

    def _respond(self, access: str) -> None:
        self.server.turns.append(access)
        if access in self.server.refused:
            self._answer(401, {"error": {"code": "token_expired", "message": "expired"}})
            return
        part = {"type": "output_text", "text": "Hi"}
        item = {"type": "message", "role": "assistant", "id": "m", "content": [part]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_item.added", "item": item | {"content": []}},
            {"type": "response.output_text.delta", "item_id": "m", "delta": "Hi"},
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": {"id": "r", "usage": usage}},
        ]
        lines = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events]
        self._send(200, "text/event-stream", "".join(lines).encode())

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        """Serve a connection; whoever hangs up in a renewal is not this server's fault."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class AccountsLauncher(Launcher):
    """A launcher whose children ask an account server of the test's own, and nothing outside of this machine."""

    accounts_url = ""

    def prepare(self) -> ChildSpec:
        spec = super().prepare()
        renewal = {"CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{self.accounts_url}/oauth/token"}
        elsewhere = ("-c", f'chatgpt_base_url="{self.accounts_url}/backend-api/"')
        return replace(spec, env=spec.env | renewal, argv=(*spec.argv, *elsewhere))
