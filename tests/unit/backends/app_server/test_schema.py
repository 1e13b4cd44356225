"""What we rely on, compared with the schema that the pinned binary generates itself."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from app.answers.tools import Tool, to_dynamic_tool
from app.answers.turn_errors import BY_KIND
from app.api.chat_completions.messages import to_items
from app.backend.account import WINDOWS
from app.backend.events import COMMENTARY, FINAL_ANSWER, TurnStatus
from app.backend.request import TurnRequest
from app.backends.app_server import protocol
from app.backends.app_server.parse_events import PARSERS, Addressed, ThreadId, TurnId, parse_event
from app.backends.app_server.server_request_policy import ANSWERS, Answer
from app.codex import account
from app.codex.catalog import STRIPPED

Schema = Callable[[str], Any]


# A small part of JSON Schema: what codex's own schemas use of it.

_TYPES: Mapping[str, type | tuple[type, ...]] = MappingProxyType(
    {
        "object": Mapping,
        "array": (list, tuple),
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
)


def is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, _TYPES[name])


def resolve(schema: Any, root: Any) -> Any:
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].removeprefix("#/definitions/")]
    return schema


def spread(schema: Any) -> Any:
    """Give each alternative the members that stand beside them all, or they would be unknown to it."""
    if not {"anyOf", "properties"} <= set(schema):
        return schema
    return {
        "anyOf": [
            {
                **one,
                "properties": schema["properties"] | one.get("properties", {}),
                "required": [*schema.get("required", []), *one.get("required", [])],
            }
            for one in schema["anyOf"]
        ]
    }


def problems(value: Any, schema: Any, root: Any, where: str = "") -> Iterator[str]:
    """Say what is wrong. Stricter than the standard: a member that codex does not know is a problem."""
    if schema is True:
        return
    schema = spread(resolve(schema, root))
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_a(value, kind) for kind in kinds):
        yield f"{where}: {value!r} is none of {kinds}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    yield from _combined_problems(value, schema, root, where)
    if isinstance(value, Mapping) and ("properties" in schema or "additionalProperties" in schema):
        yield from _member_problems(value, schema, root, where)
    for index, entry in enumerate(value if isinstance(value, list | tuple) else ()):
        yield from problems(entry, schema.get("items", True), root, f"{where}[{index}]")


def _combined_problems(value: Any, schema: Any, root: Any, where: str) -> Iterator[str]:
    for some in (schema.get("anyOf"), schema.get("oneOf")):
        if some and all(any(problems(value, one, root, where)) for one in some):
            yield f"{where}: {value!r} fits none of the alternatives"
    for part in schema.get("allOf", []):
        yield from problems(value, part, root, where)


def _member_problems(value: Mapping[str, Any], schema: Any, root: Any, where: str) -> Iterator[str]:
    for name in schema.get("required", []):
        if name not in value:
            yield f"{where}.{name} is required"
    others = schema.get("additionalProperties", False)
    for name, member in value.items():
        known = schema.get("properties", {}).get(name, others)
        if known is False:
            yield f"{where}.{name} is unknown"
        else:
            yield from problems(member, known, root, f"{where}.{name}")


def least(schema: Any, root: Any) -> Any:
    """Return the smallest value that the schema allows, with one entry in every list."""
    if schema is True:
        return None
    schema = resolve(schema, root)
    for some in ("anyOf", "oneOf", "allOf"):
        if some in schema:
            return least(schema[some][0], root)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][-1]
    if kind == "array":
        return [least(schema["items"], root)]
    if kind == "object":
        return {
            name: least(schema["properties"][name], root) for name in schema.get("required", [])
        }
    return {"string": "text", "integer": 1, "number": 1, "boolean": True, "null": None}[kind]


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"]},
        "kind": {"$ref": "#/definitions/Kind"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "free": True,
        "more": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        "both": {"allOf": [{"$ref": "#/definitions/Kind"}]},
        "image": {
            "type": "object",
            "properties": {"type": {"enum": ["image"]}},
            "required": ["type"],
            "anyOf": [
                {"properties": {"url": {"type": "string"}}, "required": ["url"]},
                {"properties": {"file": {"type": "string"}}, "required": ["file"]},
            ],
        },
    },
    "required": ["name"],
    "definitions": {"Kind": {"enum": ["a", "b"], "type": "string"}},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "x"}, []),
        (
            {"name": "x", "age": None, "kind": "b", "tags": [], "free": [{}], "either": 1.5},
            [],
        ),
        ({"name": "x", "more": {"y": True}, "both": "a"}, []),
        ({"name": "x", "image": {"type": "image", "file": "y"}}, []),
        (
            {"name": "x", "image": {"type": "image"}},
            [".image: {'type': 'image'} fits none of the alternatives"],
        ),
        (
            {"name": "x", "image": {"url": "y"}},
            [".image: {'url': 'y'} fits none of the alternatives"],
        ),
        ([], [": [] is none of ['object']"]),
        ({}, [".name is required"]),
        ({"name": "x", "nick": 1}, [".nick is unknown"]),
        ({"name": 5}, [".name: 5 is none of ['string']"]),
        ({"name": "x", "age": True}, [".age: True is none of ['integer', 'null']"]),
        ({"name": "x", "kind": "c"}, [".kind: 'c' is none of ['a', 'b']"]),
        ({"name": "x", "both": "c"}, [".both: 'c' is none of ['a', 'b']"]),
        ({"name": "x", "tags": ["y", 1]}, [".tags[1]: 1 is none of ['string']"]),
        ({"name": "x", "more": {"y": 1}}, [".more.y: 1 is none of ['boolean']"]),
        ({"name": "x", "either": None}, [".either: None fits none of the alternatives"]),
    ],
)
def test_the_small_validator_sees_what_is_wrong(value: Any, expected: list[str]) -> None:
    assert list(problems(value, PERSON, PERSON)) == expected


def members(file: Any) -> dict[str, Any]:
    """Return what a union of messages has: method to the schema of its params."""
    return {
        entry["properties"]["method"]["enum"][0]: entry["properties"].get("params")
        for entry in file["oneOf"]
    }


# What we are told

# Not in the union of notifications, because they are for internal use; each has a file of its own.
RAW = {
    "rawResponse/completed": "v2/RawResponseCompletedNotification",
    "rawResponseItem/completed": "v2/RawResponseItemCompletedNotification",
}

# What we read of each notification: the path, and the type that we take it for.
READ: dict[str, list[tuple[str, str]]] = {
    "error": [
        ("threadId", "string"),
        ("turnId", "string"),
        ("willRetry", "boolean"),
        ("error.message", "string"),
    ],
    "item/agentMessage/delta": [
        ("threadId", "string"),
        ("turnId", "string"),
        ("itemId", "string"),
        ("delta", "string"),
    ],
    "item/started": [("threadId", "string"), ("turnId", "string"), ("item", "object")],
    "item/reasoning/summaryTextDelta": [
        ("threadId", "string"),
        ("turnId", "string"),
        ("delta", "string"),
    ],
    "item/reasoning/textDelta": [
        ("threadId", "string"),
        ("turnId", "string"),
        ("delta", "string"),
    ],
    "model/rerouted": [("threadId", "string"), ("turnId", "string"), ("toModel", "string")],
    "thread/tokenUsage/updated": [
        ("threadId", "string"),
        ("turnId", "string"),
        ("tokenUsage.total.inputTokens", "integer"),
        ("tokenUsage.total.cachedInputTokens", "integer"),
        ("tokenUsage.total.outputTokens", "integer"),
        ("tokenUsage.total.reasoningOutputTokens", "integer"),
        ("tokenUsage.total.totalTokens", "integer"),
    ],
    "rawResponse/completed": [("threadId", "string"), ("turnId", "string")],
    "rawResponseItem/completed": [("threadId", "string"), ("turnId", "string"), ("item", "object")],
    "turn/completed": [("threadId", "string"), ("turn.id", "string"), ("turn.status", "string")],
}


def notification(schema: Schema, method: str) -> tuple[Any, Any]:
    """Return the schema of a notification's params, and the file that its references are in."""
    if method in RAW:
        file = schema(RAW[method])
        return file, file
    file = schema("ServerNotification")
    return members(file)[method], file


def only(schema: Any) -> Any:
    """Return what a reference with a description of its own refers to."""
    return schema["allOf"][0] if "allOf" in schema else schema


def test_the_accounts_windows_are_where_we_read_them(schema: Schema) -> None:
    file = schema("v2/AccountRateLimitsUpdatedNotification")
    assert account.UPDATED in members(schema("ServerNotification"))
    for root in (file, schema("v2/GetAccountRateLimitsResponse")):
        limits = resolve(only(root["properties"]["rateLimits"]), root)
        assert "string" in limits["properties"]["limitId"]["type"]
        for name in WINDOWS:
            window = resolve(limits["properties"][name]["anyOf"][0], root)
            assert {field: kind["type"] for field, kind in window["properties"].items()} == {
                "usedPercent": "integer",
                "windowDurationMins": ["integer", "null"],
                "resetsAt": ["integer", "null"],
            }


def test_the_table_has_every_event_that_we_parse() -> None:
    assert set(READ) == set(PARSERS)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [(method, path, kind) for method, rows in READ.items() for path, kind in rows],
)
def test_a_field_that_we_read_is_required_and_has_its_type(
    schema: Schema, method: str, path: str, kind: str
) -> None:
    part, root = notification(schema, method)
    for name in path.split("."):
        part = resolve(part, root)
        assert name in part["required"]
        part = part["properties"][name]
    assert is_a(least(part, root), kind)


def test_a_message_that_begins_has_an_id_and_maybe_a_phase(schema: Schema) -> None:
    part, root = notification(schema, "item/started")
    part = resolve(part, root)
    kinds = resolve(part["properties"]["item"], root)["oneOf"]
    (message,) = [kind for kind in kinds if kind["properties"]["type"]["enum"] == ["agentMessage"]]
    assert "id" in message["required"]
    assert "phase" in message["properties"]
    phases = root["definitions"]["MessagePhase"]["oneOf"]
    assert {phase["enum"][0] for phase in phases} >= {COMMENTARY, FINAL_ANSWER}


@pytest.mark.parametrize("method", PARSERS.keys() - {"item/started"})
def test_an_event_with_nothing_but_its_required_fields_is_parsed(
    schema: Schema, method: str
) -> None:
    params = least(*notification(schema, method))
    assert isinstance(parse_event(method, params), Addressed)


def test_the_usage_of_one_response_has_the_members_of_the_usage_of_a_thread(schema: Schema) -> None:
    file = schema(RAW["rawResponse/completed"])
    counted = least(file["definitions"]["TokenUsageBreakdown"], file)
    parsed = parse_event(
        "rawResponse/completed", {"threadId": "thr", "turnId": "trn", "usage": counted}
    )
    assert parsed is not None
    assert parsed.event.usage is not None  # type: ignore[union-attr]


def test_a_turn_ends_in_one_of_the_ways_that_we_know(schema: Schema) -> None:
    known = schema("ServerNotification")["definitions"]["TurnStatus"]["enum"]
    assert {status.value for status in TurnStatus} == set(known) - {"inProgress"}


def test_a_failure_has_a_message_and_maybe_a_kind(schema: Schema) -> None:
    error = schema("ServerNotification")["definitions"]["TurnError"]
    assert error["required"] == ["message"]
    assert "codexErrorInfo" in error["properties"]


@pytest.mark.parametrize("method", protocol.UNUSED_NOTIFICATIONS)
def test_what_we_opt_out_of_exists(schema: Schema, method: str) -> None:
    assert method in members(schema("ServerNotification"))


# How a turn fails

# The binary sends them, its schema does not list them (its last alternative allows any name).
UNDOCUMENTED_KINDS = {"modelNotFound"}

# A newer version, which CODEX_BIN may name, has them.
NEWER_KINDS = {"bioPolicy", "inferenceHookDenied", "policyCapacityUnavailable"}


def error_kinds(schema: Schema) -> set[str]:
    kinds: set[str] = set()
    for alternative in schema("ServerNotification")["definitions"]["CodexErrorInfo"]["anyOf"]:
        kinds.update(alternative.get("enum", []), alternative.get("required", []))
    return kinds


@pytest.mark.parametrize("kind", sorted(set(BY_KIND) - NEWER_KINDS))
def test_a_kind_of_failure_that_we_tell_apart_exists(schema: Schema, kind: str) -> None:
    assert (kind in error_kinds(schema)) is (kind not in UNDOCUMENTED_KINDS)


# What is asked of us

RESPONSES = {
    "item/commandExecution/requestApproval": "CommandExecutionRequestApprovalResponse",
    "item/fileChange/requestApproval": "FileChangeRequestApprovalResponse",
    "item/permissions/requestApproval": "PermissionsRequestApprovalResponse",
    "item/tool/requestUserInput": "ToolRequestUserInputResponse",
    "item/tool/call": "DynamicToolCallResponse",
    "mcpServer/elicitation/request": "McpServerElicitationRequestResponse",
    "applyPatchApproval": "ApplyPatchApprovalResponse",
    "execCommandApproval": "ExecCommandApprovalResponse",
}


def test_every_request_of_the_child_has_an_answer_and_there_are_no_others(schema: Schema) -> None:
    assert set(ANSWERS) == set(members(schema("ServerRequest")))


def test_the_table_has_a_response_for_every_answer() -> None:
    answered = {method for method, said in ANSWERS.items() if isinstance(said, Answer)}
    assert set(RESPONSES) == answered


@pytest.mark.parametrize(("method", "name"), RESPONSES.items())
def test_an_answer_is_a_valid_response(schema: Schema, method: str, name: str) -> None:
    said, file = ANSWERS[method], schema(name)
    assert isinstance(said, Answer)
    assert list(problems(said.result, file, file)) == []


# What we ask

THREAD, TURN = ThreadId("thr"), TurnId("trn")
REQUEST = TurnRequest("gpt", ({"type": "message"},), effort="high")
FULL = TurnRequest(
    "gpt",
    ({"type": "message"},),
    effort="high",
    summary="auto",
    tools=(to_dynamic_tool(Tool("functions.exec", "d", {"type": "object", "title": "t"})),),
    output_schema={"type": "object"},
    service_tier="flex",
    verbosity="low",
)

PARAMS: list[tuple[str, dict[str, Any]]] = [
    ("initialize", protocol.initialize_params("1.2.3")),
    ("thread/start", protocol.thread_start_params(REQUEST)),
    ("thread/start", protocol.thread_start_params(FULL)),
    ("thread/inject_items", protocol.inject_items_params(THREAD, REQUEST.items)),
    ("turn/start", protocol.turn_start_params(THREAD, REQUEST)),
    ("turn/start", protocol.turn_start_params(THREAD, FULL)),
    ("turn/interrupt", protocol.interrupt_params(THREAD, TURN)),
    ("thread/unsubscribe", protocol.unsubscribe_params(THREAD)),
    ("thread/read", protocol.read_params(THREAD)),
    ("thread/loaded/list", protocol.loaded_list_params()),
    ("model/list", protocol.model_list_params(None)),
    ("model/list", protocol.model_list_params("2")),
    ("account/read", protocol.renewal_params()),
]


def test_every_params_function_is_in_the_table() -> None:
    functions = [name for name in vars(protocol) if name.endswith("_params")]
    assert len(functions) == len({method for method, _ in PARAMS})


@pytest.mark.parametrize(("method", "params"), PARAMS)
def test_what_we_ask_is_valid_and_has_no_member_that_codex_does_not_know(
    schema: Schema, method: str, params: dict[str, Any]
) -> None:
    file = schema("ClientRequest")
    assert list(problems(params, members(file)[method], file)) == []


def test_the_notification_after_the_handshake_exists(schema: Schema) -> None:
    assert members(schema("ClientNotification")) == {"initialized": None}


PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA="
CALL: dict[str, Any] = {
    "id": "c",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
}


@pytest.mark.parametrize(
    "messages",
    [[{"role": role, "content": "text"}] for role in ("system", "developer", "user", "assistant")]
    + [
        [{"role": "user", "content": [{"type": "text", "text": "text"}]}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        [{"role": "assistant", "content": None}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}],
        [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "42"},
        ],
        [
            {"role": "assistant", "function_call": CALL["function"]},
            {"role": "function", "name": "f", "content": "42"},
        ],
    ],
)
def test_an_injected_item_is_one_that_codex_knows(
    schema: Schema, messages: list[dict[str, Any]]
) -> None:
    file = schema(RAW["rawResponseItem/completed"])
    assert to_items(messages)
    for item in to_items(messages):
        assert list(problems(item, file["definitions"]["ResponseItem"], file)) == []


# What we are answered


@pytest.mark.parametrize(
    ("name", "parse"),
    [
        ("v1/InitializeResponse", protocol.parse_user_agent),
        ("v2/TurnStartResponse", protocol.parse_turn_id),
        ("v2/ModelListResponse", protocol.parse_models),
    ],
)
def test_a_result_with_nothing_but_its_required_fields_is_parsed(
    schema: Schema, name: str, parse: Callable[[Any], Any]
) -> None:
    file = schema(name)
    assert parse(least(file, file))


def test_a_thread_has_an_id(schema: Schema) -> None:
    file = schema("v2/ThreadStartResponse")
    assert "thread" in file["required"]
    thread = resolve(file["properties"]["thread"], file)
    assert "id" in thread["required"]
    assert protocol.parse_thread_id({"thread": {"id": least(thread["properties"]["id"], file)}})


def test_a_thread_says_whether_a_turn_runs_on_it(schema: Schema) -> None:
    file = schema("v2/ThreadReadResponse")
    thread = resolve(file["properties"]["thread"], file)
    assert "status" in thread["required"]
    kinds = resolve(only(thread["properties"]["status"]), file)["oneOf"]
    assert {"idle", "active"} <= {kind["properties"]["type"]["enum"][0] for kind in kinds}


@pytest.mark.parametrize("field", ["model", "supportedReasoningEfforts", "defaultReasoningEffort"])
def test_a_model_has_what_we_read_of_it(schema: Schema, field: str) -> None:
    assert field in schema("v2/ModelListResponse")["definitions"]["Model"]["required"]


# The catalog

# Set for versions that have it; the pinned one does not.
NOT_IN_THIS_CATALOG = {"auto_compact_token_limit"}


@pytest.mark.parametrize("name", STRIPPED)
def test_a_member_that_we_rewrite_is_in_the_catalog(bundled_catalog: Any, name: str) -> None:
    names = {name for model in bundled_catalog["models"] for name in model}
    assert (name in names) is (name not in NOT_IN_THIS_CATALOG)
