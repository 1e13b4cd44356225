"""Client tools: functions that a client offers into codex's dynamic tools, and the names back. Pure.

codex refuses or swallows some names (`mcp`, `mcp__*`, its own built-ins), so those travel under an alias. And codex
weakens schemas (it drops `pattern`, `minimum`, `format` ... and turns every `const` into a string), so a schema that
would lose something goes along whole in the tool's description. Protocol notes, section 5.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from app.answers.field_errors import invalid_type, required_string, shown
from app.answers.metaschema import (
    MAX_VALUES,
    READ_BY_CODEX,
    check_size,
    first_violation,
    measure,
)
from app.errors import InvalidRequest

_NAME = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_SAFE = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ALIAS_PREFIX = "fn_"

BUILT_IN = frozenset(
    {
        "apply_patch",
        "clock",
        "close_agent",
        "container.exec",
        "create_goal",
        "exec",
        "exec_command",
        "get_goal",
        "image_gen",
        "image_generation",
        "js_repl",
        "list_dir",
        "list_mcp_resources",
        "list_mcp_resource_templates",
        "local_shell",
        "mcp",
        "multi_tool_use.parallel",
        "read_file",
        "read_mcp_resource",
        "request_permissions",
        "request_user_input",
        "resume_agent",
        "send_input",
        "send_message",
        "send_user_message_async",
        "shell",
        "shell_command",
        "skills",
        "sleep",
        "spawn_agent",
        "test_sync_tool",
        "tool_search",
        "tool_suggest",
        "update_goal",
        "update_plan",
        "view_image",
        "wait",
        "wait_agent",
        "web_search",
        "write_stdin",
    }
)
"""Names that codex keeps, or once kept, for itself. Under one of these a client's tool might be refused, might not be
offered to the model, or a call might not come back."""

_KEPT_KEYWORDS = frozenset(
    {
        "type",
        "properties",
        "required",
        "enum",
        "items",
        "anyOf",
        "oneOf",
        "additionalProperties",
        "$ref",
        "$defs",
        "description",
        "minItems",
    }
)
"""What of a JSON schema codex hands on to the model."""

EMPTY_PARAMETERS: Mapping[str, Any] = MappingProxyType({"type": "object", "properties": {}})


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the client offers to the model."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @property
    def alias(self) -> str:
        """The name that codex and the model know it by."""
        return alias_of(self.name)


def alias_of(name: str) -> str:
    """Return a name that codex takes; the same one always, and the name itself wherever that is possible."""
    if is_plain(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{_ALIAS_PREFIX}{re.sub('[^a-zA-Z0-9_-]', '_', name[:48])}_{digest}"


def is_plain(name: str) -> bool:
    """True if codex takes the name as it is."""
    reserved = name.startswith(("mcp__", _ALIAS_PREFIX)) or name in BUILT_IN
    return _SAFE.fullmatch(name) is not None and not reserved


def names_by_alias(names: Iterable[str]) -> Mapping[str, str]:
    """Return how to turn what the model calls back into what the client offered."""
    return MappingProxyType({alias_of(name): name for name in names})


def to_dynamic_tool(tool: Tool) -> dict[str, Any]:
    """Return codex's `DynamicToolSpec`."""
    description = tool.description
    if tool.alias != tool.name:
        description = f"{description}\n\nThe user knows this function as {tool.name}.".strip()
    if loses_something(tool.parameters):
        schema = orjson.dumps(dict(tool.parameters)).decode()
        description = (
            f"{description}\n\nThe arguments must follow this JSON schema: {schema}".strip()
        )
    return {
        "type": "function",
        "name": tool.alias,
        "description": description,
        "inputSchema": dict(tool.parameters),
    }


def loses_something(schema: Any, *, is_keyword_level: bool = True) -> bool:
    """True if the schema says anything that codex would not hand on."""
    if isinstance(schema, list):
        return any(loses_something(entry) for entry in schema)
    if not isinstance(schema, Mapping):
        return False
    if not is_keyword_level:  # names of properties or definitions, not keywords
        return any(loses_something(entry) for entry in schema.values())
    if not set(schema) <= _KEPT_KEYWORDS:
        return True
    kind = schema.get("type")
    if "items" not in schema and "array" in (kind if isinstance(kind, list) else [kind]):
        return True  # codex says that they are strings
    return any(
        loses_something(value, is_keyword_level=keyword not in {"properties", "$defs"})
        for keyword, value in schema.items()
        if keyword not in {"enum", "required"}
    )


# Reading a definition


MAX_TOOLS = 128
"""As many as OpenAI takes in one request."""

_MAX_CHARACTERS = 2 << 20
"""Of all tools together. 128 tools of a large agent are 300 KB."""


def check_amount(functions: Sequence[Any], field: str) -> None:
    """Refuse tools that are too much for codex together, though each may not be: it parses them in one go.

    `functions` are objects with `description` and `parameters`, not read yet; `field` is the one that has them.
    """
    if len(functions) > MAX_TOOLS:
        raise InvalidRequest(
            f"Invalid '{field}': array too long. Expected at most {MAX_TOOLS} tools.",
            param=field,
            code="array_above_max_length",
        )
    values = characters = 0
    for function in functions:
        if isinstance(function, Mapping):
            texts = [function.get("description"), function.get("parameters")]
            more = measure(texts)
            values, characters = values + more[0], characters + more[1]
        if characters > _MAX_CHARACTERS or values > MAX_VALUES:
            raise InvalidRequest(
                f"Invalid '{field}': the tools are too large together. Expected at most {MAX_VALUES} values and "
                f"{_MAX_CHARACTERS} characters in their descriptions and parameters.",
                param=field,
                code="TOOLS_TOO_LARGE",
            )


def parse_function(function: Any, where: str) -> Tool:
    """Read the object that has a function's `name`, `description` and `parameters`. Raises `InvalidRequest`.

    `where` is its place in the request.
    """
    if not isinstance(function, dict):
        raise invalid_type(where, "an object", function)
    name = required_string(function, "name", where)
    if not _NAME.fullmatch(name):  # as OpenAI's, and dots and colons, which some clients use
        raise InvalidRequest(
            f"Invalid '{where}.name': expected 1 to 64 letters, digits, underscores or dashes.",
            param=f"{where}.name",
        )
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise invalid_type(f"{where}.description", "a string", description)
    parameters = function.get("parameters")
    if parameters is None:
        parameters = EMPTY_PARAMETERS
    if not isinstance(parameters, Mapping):
        raise invalid_type(f"{where}.parameters", "an object", parameters)
    return Tool(name, description or "", _as_object(parameters, f"{where}.parameters"))


def _as_object(parameters: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the schema with the members that codex and the upstream ask of every object."""
    check_size(parameters, where, _BAD_PARAMETERS)
    given = {name: value for name, value in parameters.items() if value is not None}
    kind = given.get("type", "object")
    if kind != "object":
        raise InvalidRequest(
            f"Invalid schema for '{where}': its type must be 'object', but is {shown(kind)}.",
            param=where,
            code=_BAD_PARAMETERS,
        )
    if wrong := first_violation(given, where, READ_BY_CODEX):
        at, reason = wrong
        param = _ENTRY_OF_REQUIRED.sub("", at)  # names in it are no fields
        raise InvalidRequest(
            f"Invalid schema: at '{at}' {reason}.", param=param, code=_BAD_PARAMETERS
        )
    return {"type": "object", "properties": {}, **_with_whole_counts(given)}


def _with_whole_counts(schema: Any) -> Any:
    """Return the schema with `minItems: 1.0` as 1: the same to JSON Schema, and not to codex."""
    if isinstance(schema, list):
        return [_with_whole_counts(entry) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: int(value) if name == "minItems" and _is_whole(value) else _with_whole_counts(value)
        for name, value in schema.items()
    }


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and value <= _MOST_ITEMS


_MOST_ITEMS = 1 << 53
_BAD_PARAMETERS = "invalid_function_parameters"
_ENTRY_OF_REQUIRED = re.compile(r"(?<=\.required)\[[0-9]+\]$")
