"""Validation of requests with OpenAI's rules and words: a gateway that passes here passes there. Pure.

Each rule looks at one thing and yields its complaints; the first complaint is the answer.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from scripted_upstream.failures import error_body
from scripted_upstream.items import refuse_input
from scripted_upstream.schemas import complaint

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_MAX_NAME = 64
_KINDS = {"model": str, "reasoning": dict, "text": dict, "tools": list}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status, and OpenAI's error envelope as its body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Complaint:
    message: str
    param: str | None = None
    code: str | None = None
    status: int = 400

    def refusal(self) -> Refusal:
        body = error_body(self.message, param=self.param, code=self.code)
        return Refusal(self.status, body)


def parse_request(body: bytes) -> dict[str, Any] | Refusal:
    """Parse a request body: a JSON object, or the refusal that says so."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        request = None
    if isinstance(request, dict):
        return request
    message = "We could not parse the JSON body of your request. The API expects a JSON payload."
    return Refusal(400, error_body(message))


def refusal(request: dict[str, Any], models: tuple[str, ...]) -> Refusal | None:
    """Return why OpenAI would refuse this request, or None. No `models` means any is known."""
    for rule in _RULES:
        for found in rule(request):
            return found.refusal()
    return next((found.refusal() for found in _unknown_model(request, models)), None)


def _model(request: dict[str, Any]) -> Iterator[_Complaint]:
    if not request.get("model"):
        yield _missing("model")


def _kinds(request: dict[str, Any]) -> Iterator[_Complaint]:
    for name, kind in _KINDS.items():
        value = request.get(name)
        if value is not None and not isinstance(value, kind):
            message = f"Invalid type for '{name}': expected another type of value."
            yield _Complaint(message, name, "invalid_type")


def _unknown_model(request: dict[str, Any], models: tuple[str, ...]) -> Iterator[_Complaint]:
    if models and request["model"] not in models:
        message = f"The model `{request['model']}` does not exist or you do not have access to it."
        yield _Complaint(message, "model", "model_not_found", 404)


def _stream(request: dict[str, Any]) -> Iterator[_Complaint]:
    if request.get("stream") is not True:
        yield _Complaint("This scripted upstream only streams.", "stream", "unsupported_value")


def _effort(request: dict[str, Any]) -> Iterator[_Complaint]:
    effort = (request.get("reasoning") or {}).get("effort")
    if effort is not None and effort not in EFFORTS:
        listed = ", ".join(f"'{known}'" for known in EFFORTS)
        message = f"Invalid value: '{effort}'. Supported values are: {listed}."
        yield _Complaint(message, "reasoning.effort", "invalid_value")


def _input(request: dict[str, Any]) -> Iterator[_Complaint]:
    entries = request.get("input")
    if not entries:
        yield _missing("input")
    elif not isinstance(entries, str):
        for message, param, code in refuse_input(entries):
            yield _Complaint(message, param, code)


def _tools(request: dict[str, Any]) -> Iterator[_Complaint]:
    names: set[str] = set()
    for place, tool in enumerate(request.get("tools") or []):
        if not isinstance(tool, dict) or not tool.get("type"):
            yield _missing(f"tools[{place}].type")
            continue
        if tool["type"] not in ("function", "custom"):
            continue
        name = tool.get("name")
        yield from _tool_name(name, f"tools[{place}].name")
        if name in names:
            yield _Complaint(f"Tool names must be unique: '{name}' is given twice.", "tools")
        names.add(str(name))
        if tool["type"] == "function":
            yield from _parameters(tool, f"tools[{place}].parameters")


def _tool_name(name: Any, param: str) -> Iterator[_Complaint]:
    if not name or not isinstance(name, str):
        yield _missing(param)
    elif not _NAME.fullmatch(name):
        message = (
            f"Invalid '{param}': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        )
        yield _Complaint(message, param, "invalid_value")
    elif len(name) > _MAX_NAME:
        message = (
            f"Invalid '{param}': string too long. Expected a string with maximum length "
            f"{_MAX_NAME}, but got a string with length {len(name)} instead."
        )
        yield _Complaint(message, param, "string_above_max_length")


def _parameters(tool: dict[str, Any], param: str) -> Iterator[_Complaint]:
    strict = tool.get("strict") is True  # absent: OpenAI closes the schema itself
    parameters = tool.get("parameters")
    if parameters is None and not strict:
        return
    said = complaint(parameters, strict=strict)
    if said is not None:
        message = f"Invalid schema for function '{tool.get('name')}': {said}"
        yield _Complaint(message, param, "invalid_function_parameters")


def _format(request: dict[str, Any]) -> Iterator[_Complaint]:
    wanted = (request.get("text") or {}).get("format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return
    yield from _tool_name(wanted.get("name"), "text.format.name")
    if wanted.get("strict") is True:
        said = complaint(wanted.get("schema"), strict=True)
        if said is not None:
            message = f"Invalid schema for response_format '{wanted.get('name')}': {said}"
            yield _Complaint(message, "text.format.schema", "invalid_json_schema")


def _tool_choice(request: dict[str, Any]) -> Iterator[_Complaint]:
    choice = request.get("tool_choice")
    tools = request.get("tools") or []
    if choice == "required" and not tools:
        message = "Tool choice 'required' must be specified with 'tools' parameter."
        yield _Complaint(message, "tool_choice")
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        message = f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', 'required'."
        yield _Complaint(message, "tool_choice", "invalid_value")
    if isinstance(choice, dict) and not any(_is_choice(tool, choice) for tool in tools):
        named = choice.get("name") or choice.get("type")
        yield _Complaint(f"Tool choice '{named}' not found in 'tools' parameter.", "tool_choice")


def _is_choice(tool: dict[str, Any], choice: dict[str, Any]) -> bool:
    return all(tool.get(key) == choice.get(key) for key in ("type", "name"))


def _missing(param: str) -> _Complaint:
    message = f"Missing required parameter: '{param}'."
    return _Complaint(message, param, "missing_required_parameter")


_RULES: tuple[Callable[[dict[str, Any]], Iterator[_Complaint]], ...] = (
    _kinds,
    _model,
    _stream,
    _input,
    _effort,
    _tools,
    _tool_choice,
    _format,
)
