"""`codex status`: the login and its limits, the upstream that serves, and the state of the running gateway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click

from app.backend.account import AccountWindow
from app.backends.app_server.protocol import codex_version
from app.cli.account import Limit, Login, look_up
from app.cli.child import ChildFailed, conversation
from app.cli.exit_codes import Exit
from app.cli.output import columns, json_option, say, waiting, words
from app.cli.running_gateway import Running, pid_of, probe
from app.codex.config import UpstreamKind
from app.codex.home import Home
from app.codex.upstream import UpstreamChoice, choose_upstream
from app.settings import Settings, load_settings
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
@json_option
@click.pass_context
def status(context: click.Context, *, as_json: bool) -> None:
    """Show the login and its limits, the versions, the upstream, and the running gateway."""
    seen = gather(load_settings())
    say(seen.for_json(), columns(describe(seen)), as_json=as_json)
    context.exit(seen.exit_code)


def gather(settings: Settings) -> Status:
    """Ask a child of our own, and the gateway over HTTP. Blocks."""
    home = Home(settings.codex_home)
    choice = choose_upstream(settings, home)
    login, codex, problem = Login(), None, ""
    try:
        with (
            waiting("Asking codex about the login …"),
            conversation(settings, home) as connection,
        ):
            login = look_up(connection, home, settings.rpc_timeout_ms / 1000)
            codex = codex_version(connection.user_agent)
    except ChildFailed as error:
        problem = str(error)
    gateway = probe(pid_of(home.pid_file), settings)
    return Status(choice, login, {"gateway": VERSION, "codex": codex}, gateway, problem)


def describe(seen: Status) -> Iterator[tuple[str, str]]:
    """Yield what a person reads: a word and a sentence each."""
    yield "upstream", f"{seen.upstream.kind.value}: {seen.upstream.reason}"
    if seen.upstream.address:
        yield "", seen.upstream.address
    yield "login", _login(seen)
    # What the running gateway last heard is shown where nobody else can tell.
    heard = (seen.gateway.account_limits or {}).items()
    for limit in seen.login.limits or [
        Limit.of(f"as last heard, {name}", AccountWindow(**window)) for name, window in heard
    ]:
        yield "limits", str(limit)
    if seen.login.limits_problem:
        yield "limits", f"unknown: {seen.login.limits_problem}"
    yield "versions", ", ".join(f"{name} {found or '?'}" for name, found in seen.versions.items())
    yield "gateway", _gateway(seen.gateway)
    if child := seen.gateway.child:
        version = codex_version(str(child.get("user_agent") or "")) or "?"
        facts = {name: child.get(name) for name in ("restarts", "running", "waiting")}
        yield (
            "child",
            f"{child.get('state')}, pid {child.get('pid')}, codex {version}, {words(facts)}",
        )


def _login(seen: Status) -> str:
    if seen.child_problem:
        return f"unknown: {seen.child_problem} To find out more: .venv/bin/flask --app wsgi codex doctor"
    account = seen.login.account
    if seen.login.problem:
        return f"{account or 'unknown'}; codex could not look it up: {seen.login.problem}"
    return str(account or "nobody is logged in (.venv/bin/flask --app wsgi codex login)")


def _gateway(gateway: Running) -> str:
    if gateway.pid is None:
        return "not running"
    where = f", {gateway.address}" if gateway.address else ""
    words = {True: "ready", False: "not ready", None: "unknown"}[gateway.ready]
    if gateway.health == "maintenance":
        words = "in maintenance (.venv/bin/flask --app wsgi codex maintenance status)"
    reason = f" ({gateway.reason})" if gateway.reason else ""
    return f"running, pid {gateway.pid}{where}: {words}{reason}"
