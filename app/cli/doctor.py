"""`codex doctor`: a check of everything that the service needs, with what to do where something is missing.

Nothing is repaired, and a running gateway is not disturbed: the child that is tried lives in a temporary CODEX_HOME.
Only to look up the login, a child is started beside the gateway's own, as a reload does.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import click
import psutil

from app.cli import doctor_checks as checks
from app.cli.account import Login, look_up
from app.cli.checks import Check, Result, fail, ok, report, run_checks, skip, warn
from app.cli.child import codex_version, conversation
from app.cli.output import json_option
from app.cli.running_gateway import pid_of
from app.codex.auth_file import LoginKind
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.upstream import choose_upstream
from app.settings import (
    ROOT,
    Settings,
    SettingsError,
    advice,
    load_settings,
    read_environment,
    unknown_names,
)

_NOBODY = "http://127.0.0.1:9/v1"
"""Stands for the demo's address, which it has only while a worker runs."""


@dataclass(slots=True)
class Site:
    """What the checks are given; the last three are there once the settings are accepted."""

    variables: Mapping[str, str]
    env_file: Path
    offline: bool = False
    settings: Settings = field(init=False)
    home: Home = field(init=False)
    upstream: Upstream = field(init=False)


def _settings(site: Site) -> Result:
    try:
        site.settings = load_settings(site.variables)
    except SettingsError as error:
        remedy = "Correct it in the environment or in .env (the environment wins); docs/configuration.md."
        return fail(" ".join(error.problems), remedy)
    site.home = Home(site.settings.codex_home)
    site.upstream = choose_upstream(site.settings, site.home).upstream
    notes = [
        *(sentence for _, sentence in advice(site.settings)),
        *(f"{name} is no setting and has no effect." for name in unknown_names(site.variables)),
    ]
    if site.env_file.exists() and site.env_file.stat().st_mode & 0o077:
        notes.append(f"Other users may read {site.env_file}: chmod 600.")
    sentence = " ".join([f"PROXY_ENV is {site.settings.env}.", *notes])
    remedy = "docs/configuration.md has every name, docs/security.md the advice."
    return warn(sentence, remedy) if notes else ok(sentence)


def _open_files(site: Site) -> Result:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return checks.open_files(limit, site.settings.connections)


def _child(site: Site) -> Result:
    upstream = replace(site.upstream, has_key=False)
    if upstream.kind is UpstreamKind.DEMO:
        upstream = replace(upstream, base_url=_NOBODY)
    with (
        tempfile.TemporaryDirectory() as folder,
        conversation(site.settings, Home(Path(folder)), upstream) as connection,
    ):
        found, models = codex_version(connection.user_agent), len(connection.models)
    sentence = f"codex {found} starts, shakes hands and lists {models} models"
    pinned = metadata.version("openai-codex-cli-bin")
    if found == pinned:
        return ok(f"{sentence}.")
    remedy = "Unset CODEX_BIN; make run installs the binary that requirements.txt names."
    return warn(f"{sentence}; tested is {pinned}: the protocol may differ.", remedy)


def _login(site: Site) -> Result:
    if site.upstream.kind is UpstreamKind.CONFIGURED:
        return ok("None is needed: CODEX_UPSTREAM_URL is set.")
    stored = site.home.read_login()
    if not site.home.auth_file.exists():
        return checks.login(Login(), site.upstream.kind)
    if not stored.is_usable:
        return fail(f"auth.json is no login: {stored.problem}", checks.LOG_IN)
    if stored.kind is LoginKind.CHATGPT and not site.home.can_keep_login:
        return fail(
            f"{site.home.auth_file} cannot be written: codex has to renew a ChatGPT login, which would spend it.",
            "Mount the file, or all of CODEX_HOME, writable.",
        )
    if site.offline and stored.kind is LoginKind.CHATGPT:
        return skip("A ChatGPT login is in CODEX_HOME; whether it is still good was not tried.")
    with conversation(site.settings, site.home) as connection:
        timeout_s = site.settings.rpc_timeout_ms / 1000
        found = look_up(connection, site.home, timeout_s)
    return checks.login(found, site.upstream.kind)


def _upstream(site: Site) -> Result:
    if site.offline:
        return skip("Not tried: --offline.")
    kind = site.home.read_login().kind
    return checks.reachable(checks.addresses(site.upstream, kind and kind.value))


def _port(site: Site) -> Result:
    ours, number = pid_of(site.home.pid_file), site.settings.port
    # The process id alone does not tell: our gateway may run on the port that was set before.
    found = psutil.Process(ours).net_connections() if ours is not None else []
    is_ours = any(connection.laddr.port == number for connection in found)
    return checks.port(site.settings.host, number, ours if is_ours else None)


_ACCEPTED = ("settings",)

CHECKS: tuple[Check[Site], ...] = (
    Check("settings", _settings),
    Check("open files", _open_files, _ACCEPTED),
    Check("codex home", lambda site: checks.home(site.home.root), _ACCEPTED),
    Check("disk", lambda site: checks.disk(site.home.root), _ACCEPTED),
    Check("codex child", _child, _ACCEPTED),
    Check("login", _login, ("codex home", "codex child")),
    Check("upstream", _upstream, _ACCEPTED),
    Check("port", _port, _ACCEPTED),
)


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Leave out what needs the network.")
@json_option
def doctor(*, offline: bool, as_json: bool) -> None:
    """Check everything that the service needs; exit code 1 if anything fails."""
    site = Site(read_environment(), ROOT / ".env", offline)
    report(run_checks(CHECKS, site), as_json=as_json, key="healthy")
