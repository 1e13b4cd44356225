"""Checks of `codex smoke`: one function each, which returns a `Result` or raises `CheckFailed`.

They send what a client sends, and look for what proves that the gateway answers, and a model behind it. That every
member of an answer has OpenAI's form is for the gateway's own tests.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.cli.checks import Check, Result, fail, ok, skip, warn
from app.cli.exit_codes import without_secrets
from app.cli.smoke_http import CHECK_PROXY, Answer, CheckFailed, Deployment

REQUIREMENTS = ("https", "model", "tool-call")
"""What an operator may insist on."""

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_CHAT = "/v1/chat/completions"
_ENVELOPE = {"message", "type", "param", "code", "retryable"}
_CLOSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
_ANOTHER_MODEL = "Try again, or another --model."
_ASK = {"role": "user", "content": "Reply with one short sentence: which day comes after Monday?"}

_TOOL = "look_up_code"
_RESULT = "4711"
_ASK_FOR_CALL = {
    "role": "user",
    "content": f"Call the tool {_TOOL} with the name 'smoke', then tell me the code that it returns.",
}
_PURPOSE = "Look up the code that belongs to a name."
_NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
_OFFER = {
    "type": "function",
    "function": {"name": _TOOL, "description": _PURPOSE, "parameters": _NAME},
}
_MADE_UP = {
    "id": "call_smoke",
    "type": "function",
    "function": {"name": _TOOL, "arguments": '{"name":"smoke"}'},
}


@dataclass(slots=True)
class Site:
    """What the checks are given, and what they have found out for those after them."""

    deployment: Deployment
    model: str = ""
    required: frozenset[str] = frozenset()
    upstream: str = ""

    def complete(self, *messages: Any, **more: Any) -> Answer:
        """Return the answer to a chat completion. Blocks; raises `CheckFailed`, also where the status is not 200."""
        return _good(
            self.deployment.send(_CHAT, {"model": self.model, "messages": messages, **more})
        )


def is_this_host(address: str) -> bool:
    """Return whether the address cannot leave this machine."""
    return (urlsplit(address).hostname or "") in _LOOPBACK


def _address(site: Site) -> Result:
    shown = site.deployment.address
    if shown.startswith("https://"):
        return ok(f"{shown}, with TLS.")
    _require("https" not in site.required, f"{shown} has no TLS.", "Give its https:// address.")
    if is_this_host(shown):
        return ok(f"{shown}, on this host.")
    return warn(f"{shown} has no TLS: the key travels in the open.", "Put TLS in front of it.")


def _livez(site: Site) -> Result:
    body = _good(site.deployment.send("/livez", key="")).json()
    _require(body == {"status": "live"}, "/livez is not the gateway's.", "Check the address.")
    return ok("The process answers.")


def _readyz(site: Site) -> Result:
    answer = site.deployment.send("/readyz", key="")
    reason = answer.json().get("reason") or f"status {answer.status}"
    is_ready = answer.status == HTTPStatus.OK and answer.json().get("status") == "ready"
    _require(is_ready, f"Not ready: {reason}.", "docs/runbooks/operational.md: readyz is 503.")
    return ok("Ready.")


def _healthz(site: Site) -> Result:
    body = _good(site.deployment.send("/healthz")).json()
    status, version = body["status"], body.get("versions", {}).get("gateway")
    known = f", version {version}" if version else "; without details: this key does not open them"
    if status == "maintenance":
        remedy = "To end it, on its host: flask --app wsgi codex maintenance off"
        return warn(f"In maintenance{known}.", remedy)
    reason = f" ({body['reason']})" if body.get("reason") else ""
    _require(status == "ok", f"{status}{reason}{known}.", "docs/runbooks/operational.md")
    return ok(f"ok{known}.")


def _request_id(site: Site) -> Result:
    sent = f"smoke-{secrets.token_hex(8)}"
    kept = _id(site.deployment.send("/livez", key="", X_Request_Id=sent))
    _require(bool(kept), "Answers have no X-Request-Id.")
    if kept != sent:
        return warn("The caller's X-Request-Id is replaced on the way.", CHECK_PROXY)
    return ok("X-Request-Id is kept, and there is one.")


def _doors(site: Site) -> Result:
    for said, key in (("no key", ""), ("a wrong key", f"sk-wrong-{secrets.token_hex(8)}")):
        answer = site.deployment.send(_CHAT, {}, key=key)
        is_refused = answer.status == HTTPStatus.UNAUTHORIZED
        _require(is_refused, f"{answer.status} with {said} where 401 belongs.")
        _expect_error(answer, HTTPStatus.UNAUTHORIZED, "invalid_api_key")
    for path in ("/metrics", "/internal/log-level"):
        status = site.deployment.send(path, key="").status
        _require(status in _CLOSED, f"{path} is {status} without a key.", "Close it at the proxy.")
    return ok("Closed without a key, and with a wrong one.")


def _errors(site: Site) -> Result:
    answer = site.deployment.send("/v1/smoke-test-no-such-path")
    _expect_error(answer, HTTPStatus.NOT_FOUND, "unknown_url")
    return ok("404 in the error envelope, with x-should-retry.")


def _models(site: Site) -> Result:
    listed = _good(site.deployment.send("/v1/models")).json()["data"]
    _require(
        bool(listed), "The list of models is empty.", "On its host: flask --app wsgi codex doctor"
    )
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
    remedy = "Log in (flask --app wsgi codex login) or set CODEX_UPSTREAM_URL, then kill -HUP."
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
            raise _refusal("The stream ended with", frame["error"], answer)
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
    called = first.get("tool_calls")
    for call in called or ():
        name, arguments = call["function"]["name"], orjson.loads(call["function"]["arguments"])
        _require(name == _TOOL and "name" in arguments, "It is not the tool that was offered.")
    calls = called or [_MADE_UP]
    results = [{"role": "tool", "tool_call_id": c["id"], "content": _RESULT} for c in calls]
    turn = {"role": "assistant", "content": None, "tool_calls": calls}
    second = site.complete(_ASK_FOR_CALL, turn, *results, tools=[_OFFER]).json()
    if not called:
        return _uncalled(site)
    if _RESULT not in (second["choices"][0]["message"]["content"] or ""):
        return warn("Called, but the answer does not repeat the result.", _ANOTHER_MODEL)
    return ok("Called, and the answer knows the result.")


def _uncalled(site: Site) -> Result:
    """Judge a model that answered in words, as models are free to do; it has taken the result of a made-up call."""
    _require("tool-call" not in site.required, "The model called nothing.", _ANOTHER_MODEL)
    if site.upstream == "demo":
        return skip("The demo calls no tools; the result of a call was accepted.")
    return warn("The model answered in words; the result of a call was accepted.", _ANOTHER_MODEL)


def _require(holds: bool, otherwise: str, remedy: str = CHECK_PROXY) -> None:  # noqa: FBT001
    if not holds:
        raise CheckFailed(otherwise, remedy)


def _good(answer: Answer) -> Answer:
    if answer.status != HTTPStatus.OK:
        raise _refusal(str(answer.status), answer.error(), answer)
    return answer


def _id(answer: Answer) -> str:
    return answer.headers.get("X-Request-Id", "")


def _refusal(where: str, error: Mapping[str, Any], answer: Answer) -> CheckFailed:
    """Return an error of the gateway's, with the id that its log has."""
    said = without_secrets(str(error.get("message")))
    known_as = f" (request {_id(answer)})" if _id(answer) else ""
    remedy = "docs/errors.md says what to do about this code."
    return CheckFailed(f"{where} {error.get('code')}: {said}{known_as}", remedy)


def _expect_error(answer: Answer, status: int, code: str) -> None:
    error = answer.error()
    missing = ", ".join(sorted(_ENVELOPE - set(error)))
    _require(not missing, f"The error envelope has no {missing}.")
    found = (answer.status, error["code"])
    _require(found == (status, code), f"{found[0]} {found[1]} where {status} {code} belongs.")
    is_repeated = answer.headers.get("x-should-retry") == str(error["retryable"]).lower()
    _require(is_repeated, "x-should-retry is missing or wrong, and SDKs obey it.")


CHECKS: tuple[Check[Site], ...] = (
    Check("address", _address),
    Check("livez", _livez, ("address",)),
    Check("readyz", _readyz, ("livez",)),
    Check("healthz", _healthz, ("livez",)),
    Check("request id", _request_id, ("livez",)),
    Check("doors", _doors, ("livez",)),
    Check("errors", _errors, ("livez",)),
    Check("models", _models, ("livez",)),
    Check("chat", _chat, ("models",)),
    Check("upstream", _upstream, ("chat",)),
    Check("stream", _stream, ("chat",)),
    Check("tools", _tools, ("chat",)),
)
