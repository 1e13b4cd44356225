"""Checks of `codex smoke`: one function each, over HTTP.

They send what a client sends, and look for what proves that the gateway answers, and a model behind it. That every
member of an answer has OpenAI's form is for the gateway's own tests.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.cli.checks import Check, Result, fail, ok, skip, warn
from app.cli.exit_codes import CheckFailed
from app.cli.gateway_client import CHECK_PROXY, Answer, GatewayClient

REQUIREMENTS = ("https", "model", "tool-call")
"""What an operator may insist on."""

_CHAT = "/v1/chat/completions"
_CLOSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
_ANOTHER_MODEL = "Try again, or another --model."
_RUNBOOK = "docs/runbooks/operational.md has an entry for each reason."
_ASK = {"role": "user", "content": "Reply with one short sentence: which day comes after Monday?"}

_TOOL = "look_up_code"
_RESULT = "4711"
_ASK_FOR_CALL = {
    "role": "user",
    "content": f"Call the tool {_TOOL} with the name 'smoke', then tell me the code that it returns.",
}
_PARAMETERS = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
_OFFER = {"type": "function", "function": {"name": _TOOL, "parameters": _PARAMETERS}}


@dataclass(slots=True)
class Site:
    """What the checks are given, and what they have found out for those after them."""

    gateway: GatewayClient
    model: str = ""
    required: frozenset[str] = frozenset()
    upstream: str = ""

    def complete(self, *messages: Any, **more: Any) -> Answer:
        """Return the answer to a chat completion. Blocks; raises `CheckFailed`, also where the status is not 200."""
        body = {"model": self.model, "messages": messages, **more}
        return self.gateway.send(_CHAT, body).good()


def is_this_host(address: str) -> bool:
    """Return whether the address cannot leave this machine."""
    return urlsplit(address).hostname in {"127.0.0.1", "::1", "localhost"}


def _require(holds: bool, otherwise: str, remedy: str = CHECK_PROXY) -> None:  # noqa: FBT001
    if not holds:
        raise CheckFailed(otherwise, remedy)


def _address(site: Site) -> Result:
    shown = site.gateway.address
    if shown.startswith("https://"):
        return ok(f"{shown}, with TLS.")
    _require("https" not in site.required, f"{shown} has no TLS.", "Give its https:// address.")
    if is_this_host(shown):
        return ok(f"{shown}, on this host.")
    return warn(f"{shown} has no TLS: the key travels in the open.", "Put TLS in front of it.")


def _livez(site: Site) -> Result:
    body = site.gateway.send("/livez", key="").good().json()
    _require(body == {"status": "live"}, "/livez is not the gateway's.")
    return ok("The process answers.")


def _readyz(site: Site) -> Result:
    answer = site.gateway.send("/readyz", key="")
    body = answer.json()
    reason = body.get("reason") or f"status {answer.status}"
    _require(body.get("status") == "ready", f"Not ready: {reason}.", _RUNBOOK)
    return ok("Ready.")


def _healthz(site: Site) -> Result:
    body = site.gateway.send("/healthz").good().json()
    version = body.get("versions", {}).get("gateway") or "hidden from this key"
    if body["status"] == "maintenance":
        remedy = "To end it, on its host: .venv/bin/flask --app wsgi codex maintenance off"
        return warn(f"In maintenance, version {version}.", remedy)
    reason = f" ({body['reason']})" if body.get("reason") else ""
    sentence = f"{body['status']}{reason}, version {version}."
    _require(body["status"] == "ok", sentence, _RUNBOOK)
    return ok(sentence)


def _doors(site: Site) -> Result:
    for said, key in (("no key", ""), ("a wrong key", f"sk-wrong-{secrets.token_hex(8)}")):
        status = site.gateway.send(_CHAT, {}, key=key).status
        _require(status == HTTPStatus.UNAUTHORIZED, f"{status} with {said} where 401 belongs.")
    for path in ("/metrics", "/internal/log-level"):
        status = site.gateway.send(path, key="").status
        _require(status in _CLOSED, f"{path} is {status} without a key.", "Close it at the proxy.")
    return ok("Closed without a key, and with a wrong one.")


def _errors(site: Site) -> Result:
    sent = f"smoke-{secrets.token_hex(8)}"
    answer = site.gateway.send("/v1/smoke-test-no-such-path", request_id=sent)
    found = f"{answer.status} {answer.json()['error']['code']}"
    _require(found == "404 unknown_url", f"{found} where 404 unknown_url belongs.")
    is_said = answer.headers.get("x-should-retry") == "false"
    _require(is_said, "x-should-retry is missing or wrong, and SDKs obey it.")
    _require(bool(answer.request_id), "Answers have no X-Request-Id.")
    if answer.request_id != sent:
        return warn("The caller's X-Request-Id is replaced on the way.", CHECK_PROXY)
    return ok("404 in the error envelope, with x-should-retry and the caller's X-Request-Id.")


def _models(site: Site) -> Result:
    listed = site.gateway.send("/v1/models").good().json()["data"]
    remedy = "On its host: .venv/bin/flask --app wsgi codex doctor"
    _require(bool(listed), "The list of models is empty.", remedy)
    site.model = site.model or listed[0]["id"]
    return ok(f"{len(listed)}; taking {site.model}.")


def _chat(site: Site) -> Result:
    body = site.complete(_ASK).json()
    site.upstream = body["codex_metadata"]["upstream"]
    content = body["choices"][0]["message"]["content"]
    _require(bool(content), "The answer says nothing.", _ANOTHER_MODEL)
    return ok(f"{len(content)} characters, {body['usage']['total_tokens']} tokens.")


def _upstream(site: Site) -> Result:
    if site.upstream != "demo":
        return ok(f"{site.upstream} answers.")
    judge = fail if "model" in site.required else warn
    remedy = (
        "Log in (.venv/bin/flask --app wsgi codex login) or set CODEX_UPSTREAM_URL, then kill -HUP."
    )
    return judge("The built-in demo answers, no model does.", remedy)


def _stream(site: Site) -> Result:
    answer = site.complete(_ASK, stream=True, stream_options={"include_usage": True})
    kind = answer.headers.get("Content-Type", "nothing")
    _require(kind.startswith("text/event-stream"), f"The stream's content type is {kind}.")
    lines = [line[6:] for line in answer.body.splitlines() if line.startswith(b"data: ")]
    _require(lines[-1:] == [b"[DONE]"], "The stream ends without [DONE].")
    frames = [orjson.loads(line) for line in lines[:-1]]
    for frame in frames:
        if "error" in frame:
            raise answer.failure("The stream ended with", frame["error"])
    choices = [choice for frame in frames for choice in frame["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    _require(bool(text), "The stream says nothing.", _ANOTHER_MODEL)
    finishes = sum(bool(choice["finish_reason"]) for choice in choices)
    _require(finishes == 1, f"The stream has {finishes} finish frames.")
    _require(bool(frames[-1].get("usage")), "The stream's last frame has no usage.")
    found = "text, finish, usage, [DONE]"
    return ok(f"{len(frames)} frames, the first after {answer.head_ms} ms: {found}.")


def _tools(site: Site) -> Result:
    first = site.complete(_ASK_FOR_CALL, tools=[_OFFER]).json()["choices"][0]["message"]
    calls = first.get("tool_calls")
    if not calls:
        _require("tool-call" not in site.required, "The model called nothing.", _ANOTHER_MODEL)
        if site.upstream == "demo":
            return skip("The demo calls no tools.")
        return warn("The model answered in words, as models may.", _ANOTHER_MODEL)
    for call in calls:
        name, arguments = call["function"]["name"], orjson.loads(call["function"]["arguments"])
        _require(name == _TOOL and "name" in arguments, "It is not the tool that was offered.")
    results = [{"role": "tool", "tool_call_id": c["id"], "content": _RESULT} for c in calls]
    turn = {"role": "assistant", "content": None, "tool_calls": calls}
    second = site.complete(_ASK_FOR_CALL, turn, *results, tools=[_OFFER]).json()
    if _RESULT in (second["choices"][0]["message"]["content"] or ""):
        return ok("Called, and the answer knows the result.")
    return warn("Called, but the answer does not repeat the result.", _ANOTHER_MODEL)


CHECKS: tuple[Check[Site], ...] = (
    Check("address", _address),
    Check("livez", _livez, ("address",)),
    Check("readyz", _readyz, ("livez",)),
    Check("healthz", _healthz, ("livez",)),
    Check("doors", _doors, ("livez",)),
    Check("errors", _errors, ("livez",)),
    Check("models", _models, ("livez",)),
    Check("chat", _chat, ("models",)),
    Check("upstream", _upstream, ("chat",)),
    Check("stream", _stream, ("chat",)),
    Check("tools", _tools, ("chat",)),
)
