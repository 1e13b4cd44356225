"""What an answer must look like, for `codex smoke`. Pure: bodies in, the text out, or a `Finding`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.cli.exit_codes import without_secrets
from app.cli.smoke_http import Answer, Finding

MEMBERS = {"message", "type", "param", "code", "retryable"}

_FINISHED = {"stop", "length", "content_filter", "tool_calls"}
_NOT_OURS = "Compare the versions; if this is the gateway, report a defect of it."

END_MAINTENANCE = (
    "Nobody gets an answer until it ends; on its host: flask --app wsgi codex maintenance off."
)

REMEDIES: Mapping[str, str] = {
    "invalid_api_key": "Give a key of this deployment (--key-env or --key-stdin).",
    "UPSTREAM_AUTH": "On its host: flask --app wsgi codex login.",
    "UPSTREAM_ERROR": "On its host: flask --app wsgi codex doctor tries the upstream.",
    "UPSTREAM_FORBIDDEN": "Take another model with --model, or ask for access to this one.",
    "MAINTENANCE": END_MAINTENANCE,
    "DRAINING": "It is being stopped: try again.",
    "WORKER_UNAVAILABLE": "The child does not run: child_exited in the log has the reason.",
    "WORKER_BUSY": "Every turn is taken: try again when there is less to do.",
    "WORKER_TIMEOUT": "The upstream is silent: ask it directly from the gateway's host.",
    "BODIES_FULL": "Too many bodies are arriving: try again when there is less to do.",
    "KEY_BUSY": "This key has as many requests in progress as it may: wait until one has ended.",
    "insufficient_quota": "The account at the upstream is used up.",
    "rate_limit_exceeded": "A limit was met: wait and try again.",
    "model_not_found": "Take another model with --model; GET /v1/models lists them.",
}
"""What to do, by the error code that the gateway answered with."""


@dataclass(frozen=True, slots=True)
class Text:
    """What the model said. `upstream` says who it was: openai, custom, demo."""

    content: str
    calls: tuple[Mapping[str, Any], ...] = ()
    upstream: str = ""
    frames: int = 0


def expect(answer: Answer, status: int) -> Answer:
    """Return the answer if it has this status; else raise what its error envelope says."""
    if answer.status == status:
        return answer
    error = answer.error()
    raise refusal(f"{answer.status} ", error, answer.request_id)


def refusal(where: str, error: Mapping[str, Any], request_id: str) -> Finding:
    """Return the finding for an error of the gateway's, with the id that its log has."""
    code = str(error.get("code"))
    said = without_secrets(str(error.get("message")))
    known_as = f" (request {request_id})" if request_id else ""
    remedy = REMEDIES.get(code, "docs/errors.md says what this code means.")
    return Finding(f"{where}{code}: {said}{known_as}", remedy)


def whole(answer: Answer) -> Text:
    """Judge an answer in one piece."""
    body = expect(answer, 200).json()
    try:
        (choice,) = body["choices"]
        message, usage = choice["message"], body["usage"]
        _must(body["object"] == "chat.completion", "its object is not chat.completion")
        _must(message["role"] == "assistant", "the message is not the assistant's")
        _must(choice["finish_reason"] in _FINISHED, "it has no finish_reason")
        counted = usage["prompt_tokens"] + usage["completion_tokens"]
        _must(usage["total_tokens"] == counted, "the usage does not add up")
        calls = tuple(message.get("tool_calls") or ())
        _must(bool(message["content"] or calls), "it says nothing")
        _must(not calls or choice["finish_reason"] == "tool_calls", "calls, and no finish")
        return Text(message["content"] or "", calls, _upstream(body))
    except (KeyError, TypeError, ValueError) as error:
        raise _misshapen("answer", error) from None


def streamed(answer: Answer) -> Text:
    """Judge a stream: role first, one finish, the usage, [DONE], and one id for all of it."""
    expect(answer, 200)
    kind = answer.headers.get("Content-Type", "")
    if not kind.startswith("text/event-stream"):
        raise Finding(f"The stream's content type is {kind or 'missing'}.", _NOT_OURS)
    payloads = [
        line.removeprefix(b"data: ")
        for line in answer.body.splitlines()
        if line.startswith(b"data: ")
    ]
    if not payloads or payloads[-1] != b"[DONE]":
        raise Finding(
            "The stream ends without [DONE].", "Look at the limits of the proxy in between."
        )
    try:
        frames = [orjson.loads(payload) for payload in payloads[:-1]]
        for frame in frames:
            if "error" in frame:
                raise refusal("The stream ended with ", frame["error"], answer.request_id)
        return _frames(frames)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _misshapen("stream", error) from None


def _frames(frames: list[dict[str, Any]]) -> Text:
    same = {(f["id"], f["created"], f["model"], f["object"]) for f in frames}
    _must(len(same) == 1, "its frames do not belong together")
    first = frames[0]["choices"][0]["delta"]
    _must(first.get("role") == "assistant", "the role does not come first")
    finishes = [
        at for at, f in enumerate(frames) if f["choices"] and f["choices"][0]["finish_reason"]
    ]
    _must(len(finishes) == 1, f"it has {len(finishes)} finish frames")
    usages = [at for at, f in enumerate(frames) if not f["choices"] and f.get("usage")]
    _must(usages == [len(frames) - 1], "the usage frame is not its last")
    _must(finishes == [len(frames) - 2], "something comes after the finish frame")
    text = "".join(f["choices"][0]["delta"].get("content") or "" for f in frames[:-1])
    _must(bool(text), "it says nothing")
    return Text(text, (), _upstream(frames[-2]), len(frames))


def envelope(answer: Answer, status: int, code: str) -> None:
    """Judge a refusal: the status, the five members, and the headers that SDKs obey."""
    if answer.status != status:
        raise Finding(
            f"{answer.status} where {status} {code} belongs.",
            "Look at the proxy in between, and at the address.",
        )
    error = answer.error()
    missing = MEMBERS - set(error)
    if missing:
        raise Finding(f"The error envelope has no {', '.join(sorted(missing))}.", _NOT_OURS)
    if error["code"] != code:
        raise Finding(f"{status} {error['code']} where {code} belongs.", _NOT_OURS)
    if answer.headers.get("x-should-retry") != str(error["retryable"]).lower():
        raise Finding(
            "x-should-retry is missing or wrong, and SDKs obey it.",
            "Let the proxy in between pass on the gateway's headers.",
        )


def arguments_of(call: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Judge a call of the one tool that was offered; return its arguments."""
    try:
        _must(bool(call["id"]) and call["type"] == "function", "the call has no id")
        _must(call["function"]["name"] == name, "it calls a tool that was not offered")
        arguments = orjson.loads(call["function"]["arguments"])
        _must(isinstance(arguments, dict), "the arguments are no object")
    except (KeyError, TypeError, ValueError) as error:
        raise _misshapen("call", error) from None
    return dict(arguments)


def _upstream(body: Mapping[str, Any]) -> str:
    return str(body["codex_metadata"]["upstream"])


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001  (read as a sentence)
    if not holds:
        raise ValueError(otherwise)


def _misshapen(what: str, error: Exception) -> Finding:
    if isinstance(error, KeyError):
        return Finding(f"The {what} has no {error.args[0]}.", _NOT_OURS)
    reason = "" if isinstance(error, orjson.JSONDecodeError | TypeError) else f": {error}"
    return Finding(f"The {what} is not as it must be{reason}.", _NOT_OURS)
