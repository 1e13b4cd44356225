"""`codex status`: the login and its limits, the upstream that serves, and the state of the running gateway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from app.backend.account import AccountWindow
from app.cli import account, running_gateway
from app.cli.account import Account, Limit, Login
from app.cli.child import ChildFailed, codex_version, conversation, launcher_of
from app.cli.exit_codes import Exit, load
from app.cli.output import columns, say_json, waiting
from app.cli.running_gateway import Running
from app.codex.config import UpstreamKind
from app.codex.home import Home
from app.codex.upstream import UpstreamChoice, choose_upstream
from app.settings import Settings
from app.version import VERSION


@dataclass(frozen=True, slots=True)
class Status:
    """State at one moment. `child_problem` says why codex could not be asked, and is empty if it could."""

    upstream: UpstreamChoice
    login: Login
    versions: dict[str, str | None]
    gateway: Running
    child_problem: str = ""

    @property
    def exit_code(self) -> Exit:
        """Exit code; a login matters only where OpenAI serves."""
        if self.child_problem:
            return Exit.FAILED
        if self.upstream.kind is not UpstreamKind.OPENAI:
            return Exit.OK
        if self.login.problem:
            return Exit.FAILED
        return Exit.OK if self.login.account else Exit.NOT_LOGGED_IN

    def for_json(self) -> dict[str, Any]:
        """Return what a script reads."""
        choice = self.upstream
        upstream = {"kind": choice.kind, "reason": choice.reason, "address": choice.address}
        return asdict(self) | {"upstream": upstream}


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of sentences.")
@click.pass_context
def status(context: click.Context, *, as_json: bool) -> None:
    """Show the login and its limits, the versions, the upstream, and the running gateway."""
    seen = gather(load())
    if as_json:
        say_json(seen.for_json())
    else:
        click.echo("\n".join(columns(list(describe(seen)))))
    context.exit(seen.exit_code)


def gather(settings: Settings) -> Status:
    """Ask a child of our own, and the gateway over HTTP. Blocks."""
    home = Home(settings.codex_home)
    choice = choose_upstream(settings, home)
    login, codex, problem = _ask_codex(settings, home)
    with waiting("Asking the running gateway …"):
        gateway = running_gateway.probe(
            running_gateway.pid_of(home.pid_file), settings.host, settings.port, settings.api_key
        )
    return Status(choice, login, {"gateway": VERSION, "codex": codex}, gateway, problem)


def _ask_codex(settings: Settings, home: Home) -> tuple[Login, str | None, str]:
    try:
        with (
            waiting("Asking codex about the login …"),
            conversation(launcher_of(settings, home), settings) as connection,
        ):
            login = account.look_up(connection, settings.rpc_timeout_ms / 1000)
            codex = codex_version(connection.user_agent)
    except ChildFailed as error:
        return Login(), None, str(error)
    stored = account.type_in_file(home.auth_file)
    if login.problem and stored:
        login = replace(login, account=Account(stored))
    return login, codex, ""


def describe(seen: Status) -> Iterator[tuple[str, str]]:
    """Yield what a person reads: a word and a sentence each."""
    yield "upstream", f"{seen.upstream.kind.value}: {seen.upstream.reason}"
    if seen.upstream.address:
        yield "", seen.upstream.address
    yield "login", _login(seen)
    for limit in seen.login.limits or heard_limits(seen.gateway):
        yield "limits", str(limit)
    if seen.login.limits_problem:
        yield "limits", f"unknown: {seen.login.limits_problem}"
    yield "versions", ", ".join(f"{name} {found or '?'}" for name, found in seen.versions.items())
    yield "gateway", _gateway(seen.gateway)
    if seen.gateway.child is not None:
        yield "child", _child(seen.gateway)


def heard_limits(gateway: Running) -> tuple[Limit, ...]:
    """Return the account's windows as the running gateway last heard of them, where nobody else can tell."""
    windows = gateway.account_limits or {}
    members = ("used_percent", "window_minutes", "resets_at")
    return tuple(
        Limit.of(f"as last heard, {name}", AccountWindow(*(window[member] for member in members)))
        for name, window in windows.items()
    )


def _login(seen: Status) -> str:
    if seen.child_problem:
        return f"unknown: {seen.child_problem} To find out more: flask --app wsgi codex doctor"
    if seen.login.problem:
        return (
            f"{seen.login.account or 'unknown'}; codex could not look it up: {seen.login.problem}"
        )
    if seen.login.account is None:
        return "nobody is logged in (flask --app wsgi codex login)"
    return str(seen.login.account)


def _gateway(gateway: Running) -> str:
    if gateway.pid is None:
        return "not running"
    where = f", {gateway.address}" if gateway.address else ""
    words = {True: "ready", False: "not ready", None: "unknown"}[gateway.ready]
    if gateway.health == "maintenance":
        words = "in maintenance (flask --app wsgi codex maintenance status)"
    reason = f" ({gateway.reason})" if gateway.reason else ""
    return f"running, pid {gateway.pid}{where}: {words}{reason}"


def _child(gateway: Running) -> str:
    child = gateway.child or {}
    version = codex_version(str(child.get("user_agent") or "")) or "?"
    return (
        f"{child.get('state')}, pid {child.get('pid')}, codex {version}, {child.get('restarts')} restarts, "
        f"{child.get('running')} turns running, {child.get('waiting')} waiting"
    )
