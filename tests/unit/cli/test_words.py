"""What the commands print: tables, versions, and nothing that is secret."""

from __future__ import annotations

import click
import pytest

from app.backend.request import Model
from app.backends.app_server.protocol import codex_version
from app.cli.group import COMMANDS, commands_only, group
from app.cli.models import table
from app.cli.output import columns
from app.cli.running_gateway import address_of
from app.scrub import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key provided: sk-proj-ab_12.x.", "Incorrect API key provided: [hidden]"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln refused", "token [hidden] refused"),
        ("Authorization: Bearer abc", "Authorization: [hidden]"),
        ("workspace routing discovery failed", "workspace routing discovery failed"),
        ("ask-for-help sk-", "ask-for-help sk-"),
    ],
)
def test_what_others_say_is_shown_without_secrets(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    ("agent", "version"),
    [
        ("codex_completions_api/0.163.0 (Debian 12.0.0; x86_64) unknown (x; 0)", "0.163.0"),
        ("name/1.2.3", "1.2.3"),
        ("something else", "something else"),
        ("", ""),
    ],
)
def test_codex_version(agent: str, version: str) -> None:
    assert codex_version(agent) == version


def test_columns() -> None:
    assert columns([]) == []
    assert columns([("a", "bcd", "e f"), ("long", "b", "")]) == ["a     bcd  e f", "long  b"]


def test_the_table_of_models() -> None:
    models = [Model("gpt-1", ("low", "high"), "low"), Model("gpt-long", (), "none")]
    assert table(models) == [
        "MODEL     DEFAULT  EFFORTS",
        "gpt-1     low      low high",
        "gpt-long  none",
    ]


@pytest.mark.parametrize(
    ("host", "called"),
    [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::", "[::1]"), ("10.0.0.1", "10.0.0.1")],
)
def test_where_to_call(host: str, called: str) -> None:
    assert address_of(host, 80) == f"http://{called}:80"


def test_every_command_is_there_and_says_what_it_does() -> None:
    context = click.Context(group)
    assert set(COMMANDS) == {
        "ask",
        "doctor",
        "login",
        "logout",
        "maintenance",
        "models",
        "parity",
        "reload",
        "smoke",
        "status",
        "stop",
        "trace",
        "usage",
    }
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help
    assert group.get_command(context, "serve") is None


def test_the_fallback_application_has_the_commands_and_no_route() -> None:
    app = commands_only()
    assert app.cli.commands == {"codex": group}
    assert list(app.url_map.iter_rules()) == []
