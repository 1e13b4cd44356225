"""The OpenAPI document against what is served: routes, fields, errors, settings."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator

from app import create_app, errors
from app.api.chat_completions import schemas as chat
from app.api.completions import request as completions
from app.api.openapi.errors_of import ALL, meaning_of
from app.api.responses import schemas as responses
from app.http.content_codings import ACCEPTED
from app.settings import load_settings

KEY = "k" * 32
ADMIN = "a" * 32
JSON = "application/json"

Make = Callable[..., Flask]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(**settings: str) -> Flask:
        given = {
            "PROXY_API_KEY": KEY,
            "CODEX_HOME": str(tmp_path),
            "CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1",
        }
        return create_app(load_settings(given | settings))

    return made


def read(app: Flask, *, key: str = KEY) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with app.test_client() as client:
        answer = client.get("/openapi.json", headers=headers)
    assert (answer.status_code, answer.content_type) == (200, JSON)
    found: dict[str, Any] = json.loads(answer.data)
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def every(node: Any, name: str) -> Iterator[Any]:
    """Every value under a name, wherever it stands."""
    if isinstance(node, dict):
        if name in node:
            yield node[name]
        for value in node.values():
            yield from every(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from every(value, name)


def served(app: Flask) -> set[tuple[str, str]]:
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_in_the_document_and_nothing_else(make: Make) -> None:
    app = make()
    document = read(app)
    assert document["openapi"] == "3.1.0"
    assert {(path, method) for path, method, _ in operations(document)} == served(app)


def test_every_operation_says_what_it_does_and_what_it_answers(make: Make) -> None:
    found = list(operations(read(make())))
    names = [operation["operationId"] for _, _, operation in found]
    assert len(set(names)) == len(names)
    for path, method, operation in found:
        assert operation["summary"], path
        if "101" in operation["responses"]:
            continue  # what a WebSocket carries is not described there
        for content in operation["responses"]["200"]["content"].values():
            assert content.get("schema") or content["x-item-schema"], (
                path,
                method,
                "says no answer",
            )
        has_body = method == "POST" and not path.endswith("/cancel")
        assert ("requestBody" in operation) == has_body, path
        variables = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert variables == set(re.findall(r"{(\w+)}", path))


def test_every_reference_leads_somewhere_and_every_schema_is_one(make: Make) -> None:
    document = read(make())
    for reference in every(document, "$ref"):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place, reference
    for schema in [*document["components"]["schemas"].values(), *every(document, "schema")]:
        Draft202012Validator.check_schema(schema)


# Who may call, and who may see it


def test_a_stranger_sees_what_clients_call(make: Make) -> None:
    app = make(PROXY_ADMIN_KEY=ADMIN)
    hidden = {"/internal/log-level", "/internal/maintenance", "/internal/traces", "/internal/usage"}
    hidden |= {"/internal/traces/{request_id}", "/metrics", "/internal/status", "/internal/recent"}
    hidden |= {"/internal/console", "/internal/console/{name}"}
    stranger, client = read(app, key=""), read(app)
    assert set(client["paths"]) - set(stranger["paths"]) == hidden
    assert "internal" not in json.dumps(stranger)
    assert set(stranger["components"]["securitySchemes"]) == {"clientKey"}


@pytest.mark.parametrize(
    ("settings", "has_internal"),
    [
        ({}, True),
        ({"PROXY_ENV": "prod", "PROXY_API_KEY": "9f3kQ7mV2xK4tB1wZ8cR5yHd"}, False),
    ],
)
def test_internal_is_there_where_it_is_served(
    make: Make, settings: dict[str, str], *, has_internal: bool
) -> None:
    document = read(make(**settings), key=settings.get("PROXY_API_KEY", KEY))
    assert ("/internal/maintenance" in document["paths"]) == has_internal


def test_the_key_of_each_operation_is_the_one_that_opens_it(make: Make) -> None:
    app = make(PROXY_ADMIN_KEY=ADMIN, PROXY_METRICS_TOKEN="m" * 32)
    keys = {"clientKey": KEY, "adminKey": ADMIN, "metricsKey": "m" * 32}
    with app.test_client() as client:
        for path, method, operation in operations(read(app)):
            schemes = [name for scheme in operation["security"] for name in scheme]
            is_open = {} in operation["security"]
            if "101" in operation["responses"]:
                continue  # no such route without an upgrade
            target = re.sub(r"{\w+}", "x", path)
            for name, key in keys.items():
                headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/plain"}
                status = client.open(target, method=method, headers=headers).status_code
                assert (status != 401) == (is_open or name in schemes), (path, method, name)


@pytest.mark.parametrize(("protect", "is_open"), [("true", False), ("false", True)])
def test_the_model_list_is_open_where_it_is(make: Make, protect: str, *, is_open: bool) -> None:
    document = read(make(PROXY_PROTECT_MODELS=protect))
    operation = document["paths"]["/v1/models"]["get"]
    assert ({} in operation["security"]) == is_open
    assert ("401" in operation["responses"]) != is_open


# Fields


BODIES = {
    "ChatCompletionRequest": (chat.ChatCompletionSchema, chat.IGNORED, chat.REFUSED),
    "CompletionRequest": (completions.CompletionSchema, completions.IGNORED, completions.REFUSED),
    "ResponseRequest": (responses.ResponseSchema, responses.IGNORED, responses.REFUSED),
}


@pytest.mark.parametrize("name", BODIES)
def test_every_field_is_there_with_its_meaning(make: Make, name: str) -> None:
    schema, ignored, refused = BODIES[name]
    properties = read(make())["components"]["schemas"][name]["properties"]
    assert set(properties) == {*schema().fields, *ignored, *refused}
    assert [field for field, described in properties.items() if not described["description"]] == []
    for field, harmless in refused.items():
        assert properties[field]["enum"] == [*harmless, None]


def test_what_checks_a_field_is_what_is_told(make: Make) -> None:
    schemas = read(make())["components"]["schemas"]
    chats = schemas["ChatCompletionRequest"]["properties"]
    assert chats["temperature"]["type"] == "number"
    assert (chats["temperature"]["minimum"], chats["temperature"]["maximum"]) == (0, 2)
    assert chats["verbosity"]["enum"] == ["low", "medium", "high"]
    assert chats["messages"]["type"] == "array"
    roles = [kind["properties"]["role"]["enum"] for kind in chats["messages"]["items"]["anyOf"]]
    assert sorted(role for kind in roles for role in kind) == sorted(
        ["system", "developer", "user", "assistant", "tool", "function"]
    )
    assert schemas["MaintenanceOrder"]["required"] == ["enabled"]
    assert schemas["MaintenanceOrder"]["properties"]["retry_after_s"]["maximum"] == 86_400


def test_what_depends_on_settings_is_as_they_are(make: Make) -> None:
    few = read(make(PROXY_MAX_CHOICES="3", PROXY_MAX_BODY_BYTES="4096"))
    plain = few["components"]["schemas"]["ChatCompletionRequest"]
    assert plain["properties"]["n"]["maximum"] == 3
    assert plain["required"] == ["model"]
    assert plain["anyOf"] == [{"required": ["messages"]}, {"required": ["input"]}]
    assert "4096 bytes" in few["info"]["description"]
    assert ACCEPTED in few["info"]["description"]
    relaxed = read(make(PROXY_DEFAULT_MODEL="gpt-5.5"))["components"]["schemas"]
    assert "required" not in relaxed["ChatCompletionRequest"]
    assert relaxed["CompletionRequest"]["required"] == ["prompt"]


# Errors


def test_every_error_is_told_of_somewhere_with_its_status(make: Make) -> None:
    document = read(make())
    envelope = document["components"]["schemas"]["Error"]["properties"]["error"]
    codes = {code["const"] for code in envelope["properties"]["code"]["anyOf"] if "const" in code}
    assert codes == {kind.default_code for kind in ALL}
    assert set(envelope["required"]) == {"message", "type", "param", "code", "retryable"}
    told = {
        (status, line)
        for _, _, operation in operations(document)
        for status, response in operation["responses"].items()
        for line in response["description"].splitlines()
    }
    for kind in ALL:
        if kind is not errors.MethodNotSupported:  # of a path, and no operation's
            assert (str(kind.status), f"`{kind.default_code}`: {meaning_of(kind)}") in told, kind


def test_an_operation_has_the_errors_of_what_it_does(make: Make) -> None:
    paths = read(make())["paths"]
    statuses = {
        path: {method: set(it["responses"]) for method, it in methods.items()}
        for path, methods in paths.items()
    }
    always = {"200", "400", "404", "429", "500", "503"}
    assert statuses["/livez"]["get"] == always
    assert statuses["/v1/models"]["get"] == always | {"401"}
    body = {"401", "408", "413", "415"}
    assert statuses["/internal/maintenance"]["post"] == always | body
    assert statuses["/v1/chat/completions"]["post"] == always | body | {"403", "502", "504"}
    not_ready = paths["/readyz"]["get"]["responses"]["503"]["content"][JSON]["schema"]
    assert not_ready["anyOf"][0] == {"$ref": "#/components/schemas/NotReady"}


# The page


class Page(HTMLParser):
    """What a page would load or run, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        if tag in {"script", "link", "img", "iframe", "object"}:
            self.loads.append(tag)
        self.loads += [name for name in given if name.startswith("on") or name in {"src", "style"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_every_operation_and_loads_nothing(make: Make) -> None:
    app = make()
    document = read(app)
    with app.test_client() as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        mine, strangers = client.get("/docs", headers=headers), client.get("/docs")
    assert mine.content_type == strangers.content_type == "text/html; charset=utf-8"
    page = Page()
    page.feed(mine.text)
    assert page.loads == []
    for path, method, operation in operations(document):
        assert operation["operationId"] in page.ids
        assert f"{method} {path}" in page.text
    assert "/internal" not in strangers.text
    policy = mine.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in mine.text


def test_the_style_of_the_page_is_the_one_that_is_allowed(make: Make) -> None:
    with make().test_client() as client:
        answer = client.get("/docs")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_what_differs_by_key_is_not_shared_by_caches(make: Make) -> None:
    with make().test_client() as client:
        for path in ("/openapi.json", "/docs"):
            headers = client.get(path).headers
            assert "Authorization" in headers["Vary"]
            assert headers["X-Content-Type-Options"] == "nosniff"
