"""What `codex smoke` asks a deployment: one function for each check, which returns a `Result` or raises `Finding`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.cli.checks import Result, fail, ok, skip, warn
from app.cli.smoke_answers import END_MAINTENANCE, arguments_of, envelope, expect, streamed, whole
from app.cli.smoke_http import Deployment, Finding, is_this_host

_CHAT = "/v1/chat/completions"
_TOOL = "look_up_code"
_RESULT = "4711"
_ASK = {"role": "user", "content": "Reply with one short sentence: which day comes after Monday?"}


REQUIREMENTS = ("https", "model", "tool-call")
"""What an operator may insist on."""


@dataclass(slots=True)
class Site:
    """What the checks are given, and what they have found out for those after them."""

    deployment: Deployment
    model: str = ""
    required: frozenset[str] = frozenset()
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One row. `needs` is a row above it that must not have failed."""

    name: str
    run: Callable[[Site], Result]
    needs: str = ""


def address(site: Site) -> Result:
    """Whether the key travels in the open."""
    shown = site.deployment.address
    if shown.startswith("https://"):
        return ok("address", f"{shown}, with TLS.")
    if "https" in site.required:
        return fail("address", f"{shown} has no TLS.", "Give its https:// address.")
    if is_this_host(shown):
        return ok("address", f"{shown}, on this host.")
    return warn(
        "address", f"{shown} has no TLS: the key travels in the open.", "Put TLS in front of it."
    )


def livez(site: Site) -> Result:
    """Whether anybody is there."""
    body = expect(site.deployment.get("/livez", key=""), HTTPStatus.OK).json()
    if body != {"status": "live"}:
        raise Finding("/livez is not the gateway's.", "Check the address.")
    return ok("livez", "The process answers.")


def readyz(site: Site) -> Result:
    """Whether a request would be served now."""
    answer = site.deployment.get("/readyz", key="")
    body = answer.json()
    if answer.status == HTTPStatus.OK and body.get("status") == "ready":
        return ok("readyz", "Ready.")
    reason = body.get("reason") or f"status {answer.status}"
    return fail("readyz", f"Not ready: {reason}.", "docs/runbooks/operational.md: readyz is 503.")


def healthz(site: Site) -> Result:
    """How it says it is; with a key also which version."""
    body = expect(site.deployment.get("/healthz"), HTTPStatus.OK).json()
    status, version = body["status"], body.get("versions", {}).get("gateway")
    known = f", version {version}" if version else "; without details: this key does not open them"
    if status == "ok":
        return ok("healthz", f"ok{known}.")
    if status == "maintenance":
        return warn("healthz", f"In maintenance{known}.", END_MAINTENANCE)
    reason = f" ({body['reason']})" if body.get("reason") else ""
    return fail("healthz", f"{status}{reason}{known}.", "docs/runbooks/operational.md")


def doors(site: Site) -> Result:
    """Whether what needs a key is closed without one, and with a wrong one."""
    wrong = f"sk-wrong-{secrets.token_hex(8)}"
    for key in ("", wrong):
        answer = site.deployment.post(_CHAT, {}, key=key)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            said = "a wrong key" if key else "no key"
            raise Finding(
                f"{answer.status} with {said} where 401 belongs.",
                "A proxy in between adds a key, or answers by itself.",
            )
        envelope(answer, HTTPStatus.UNAUTHORIZED, "invalid_api_key")
    closed = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    for path in ("/metrics", "/internal/log-level"):
        if (status := site.deployment.get(path, key="").status) not in closed:
            raise Finding(f"{path} is {status} without a key.", "Close it at the proxy, at once.")
    return ok("doors", "Closed without a key, and with a wrong one.")


def errors(site: Site) -> Result:
    """Whether a path that does not exist is refused in our words."""
    envelope(
        site.deployment.get("/v1/smoke-test-no-such-path"), HTTPStatus.NOT_FOUND, "unknown_url"
    )
    return ok("errors", "404 in the error envelope, with x-should-retry.")


def request_id(site: Site) -> Result:
    """Whether a request can be found in the log by its id."""
    sent = f"smoke-{secrets.token_hex(8)}"
    kept = site.deployment.get("/livez", key="", X_Request_Id=sent).request_id
    if not kept:
        raise Finding("Answers have no X-Request-Id.", "Let the proxy in between pass it on.")
    if kept != sent:
        return warn(
            "request id",
            "The caller's X-Request-Id is replaced on the way.",
            "Let the proxy pass it on.",
        )
    return ok("request id", "X-Request-Id is kept, and there is one.")


def models(site: Site) -> Result:
    """Which models there are; takes the first one, if none was asked for."""
    listed = expect(site.deployment.get("/v1/models"), HTTPStatus.OK).json()["data"]
    names = [model["id"] for model in listed]
    if not names:
        raise Finding("The list of models is empty.", "On its host: flask --app wsgi codex doctor")
    site.model = site.model or names[0]
    return ok("models", f"{len(names)}; taking {site.model}.")


def chat(site: Site) -> Result:
    """A whole answer."""
    text = whole(site.deployment.post(_CHAT, _request(site, [_ASK])))
    site.upstream = text.upstream
    return ok("chat", f"{len(text.content)} characters, with usage.")


def upstream(site: Site) -> Result:
    """Who answers, and whether that is a real model."""
    if site.upstream != "demo":
        return ok("upstream", f"{site.upstream} answers.")
    verdict = fail if "model" in site.required else warn
    return verdict(
        "upstream",
        "The built-in demo answers, no model does.",
        "Log in (flask --app wsgi codex login) or set CODEX_UPSTREAM_URL, then kill -HUP; "
        "PROXY_ENV=prod never serves the demo.",
    )


def stream(site: Site) -> Result:
    """A streamed answer, frame by frame."""
    body = _request(site, [_ASK], stream=True, stream_options={"include_usage": True})
    answer = site.deployment.post(_CHAT, body)
    text = streamed(answer)
    return ok(
        "stream",
        f"{text.frames} frames, the first after {answer.first_ms} ms: role, text, finish, usage, [DONE].",
    )


def tools(site: Site) -> Result:
    """A call of a tool, its result, and an answer that knows it."""
    prompt = f"Call the tool {_TOOL} with the name 'smoke', then tell me the code that it returns."
    messages: list[Mapping[str, Any]] = [{"role": "user", "content": prompt}]
    first = whole(site.deployment.post(_CHAT, _request(site, messages, tools=[_OFFER])))
    if first.calls:
        arguments_of(first.calls[0], _TOOL)
    calls = first.calls or (_MADE_UP,)
    messages.append({"role": "assistant", "content": None, "tool_calls": list(calls)})
    messages += [{"role": "tool", "tool_call_id": c["id"], "content": _RESULT} for c in calls]
    second = whole(site.deployment.post(_CHAT, _request(site, messages, tools=[_OFFER])))
    if not first.calls:
        return _uncalled(site)
    if _RESULT not in second.content:
        return warn(
            "tools", "Called, but the answer does not repeat the result.", "Try another --model."
        )
    return ok("tools", "Called, and the answer knows the result.")


def _uncalled(site: Site) -> Result:
    if "tool-call" in site.required:
        return fail("tools", "The model called nothing.", "Try another --model.")
    if site.upstream == "demo":
        return skip("tools", "The demo calls no tools; the result of a call was accepted.")
    return warn(
        "tools",
        "The model answered in words; the result of a call was accepted.",
        "Models are free to do so: try again, or another --model.",
    )


def _request(site: Site, messages: list[Any], **more: Any) -> dict[str, Any]:
    return {"model": site.model, "messages": messages, **more}


_OFFER = {
    "type": "function",
    "function": {
        "name": _TOOL,
        "description": "Look up the code that belongs to a name.",
        "parameters": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}
_MADE_UP = {
    "id": "call_smoke",
    "type": "function",
    "function": {"name": _TOOL, "arguments": '{"name":"smoke"}'},
}

CHECKS: tuple[Check, ...] = (
    Check("address", address),
    Check("livez", livez, "address"),
    Check("readyz", readyz, "livez"),
    Check("healthz", healthz, "livez"),
    Check("request id", request_id, "livez"),
    Check("doors", doors, "livez"),
    Check("errors", errors, "livez"),
    Check("models", models, "livez"),
    Check("chat", chat, "models"),
    Check("upstream", upstream, "chat"),
    Check("stream", stream, "chat"),
    Check("tools", tools, "chat"),
)
