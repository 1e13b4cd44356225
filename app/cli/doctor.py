"""`codex doctor`: a check of everything that the service needs, with what to do where something is missing.

Nothing is repaired, and a running gateway is not disturbed: it is asked how its child does. Where none runs, a child is
tried in a temporary CODEX_HOME with the databases of the real one. Only to look up a login that no gateway uses, one is
started in the real one.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import psutil

from app.answers.model_names import Names, dangling
from app.cli import doctor_checks as checks
from app.cli.account import Login, look_up
from app.cli.checks import Check, Level, Result, fail, ok, report, run_checks, skip, warn
from app.cli.child import conversation
from app.cli.output import json_option
from app.cli.running_gateway import Running, pid_of, probe
from app.codex.auth_file import LoginKind
from app.codex.binary import pinned_version
from app.codex.config import Upstream, UpstreamKind
from app.codex.home import Home
from app.codex.upstream import choose_upstream
from app.codex.upstream_http import UpstreamHttp
from app.codex.upstream_models import AUTO
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
    """What the checks are given; the last four are there once the settings are accepted."""

    variables: Mapping[str, str]
    env_file: Path
    offline: bool = False
    settings: Settings = field(init=False)
    home: Home = field(init=False)
    upstream: Upstream = field(init=False)
    running: Running = field(init=False)


def _settings(site: Site) -> Result:
    try:
        site.settings = load_settings(site.variables)
    except SettingsError as error:
        remedy = "Correct it in the environment or in .env (the environment wins); docs/configuration.md."
        return fail(" ".join(error.problems), remedy)
    site.home = Home(site.settings.codex_home)
    site.upstream = choose_upstream(site.settings, site.home).upstream
    site.running = probe(pid_of(site.home.pid_file), site.settings)
    notes = [
        *(sentence for _, sentence in advice(site.settings)),
        *(f"{name} is no setting and has no effect." for name in unknown_names(site.variables)),
    ]
    if site.env_file.exists() and _is_open_to_others(site.env_file):
        notes.append(f"Other users may read {site.env_file}: chmod 600.")
    sentence = " ".join([f"PROXY_ENV is {site.settings.env}.", *notes])
    remedy = "docs/configuration.md has every name, docs/security.md the advice."
    return warn(sentence, remedy) if notes else ok(sentence)


def _is_open_to_others(file: Path) -> bool:
    """Where somebody else owns it, the service reads it through its own group, as in a container."""
    found = file.stat()
    is_by_group = found.st_uid != os.geteuid() and found.st_gid == os.getegid()
    return bool(found.st_mode & (0o007 if is_by_group else 0o077))


def _open_files(site: Site) -> Result:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    settings = site.settings
    return checks.open_files(limit, settings.connections, settings.other_descriptors)


def _child(site: Site) -> Result:
    if site.running.child is not None:
        found = str(site.running.child.get("codex_version") or "?")
        return _of_version(checks.child_of(site.running, found), found)
    upstream, settings = site.upstream, site.settings
    if upstream.kind is UpstreamKind.DEMO:
        upstream = replace(upstream, base_url=_NOBODY)
    if site.offline:
        named = tuple(word for word in settings.upstream_models if word != AUTO)
        settings = replace(settings, upstream_models=named)
    with (
        tempfile.TemporaryDirectory() as folder,
        conversation(settings, Home(Path(folder)), upstream, _databases(site)) as connection,
    ):
        found, models = connection.codex_version, len(connection.models)
        wrong = dangling(connection.models, Names(settings.model_aliases, settings.default_model))
    result = ok(f"codex {found} starts, shakes hands and lists {models} models.")
    if wrong and not (site.offline and AUTO in site.settings.upstream_models):
        sentence = f"{result.sentence[:-1]}, but not those that are named here: {', '.join(wrong)}."
        result = warn(
            sentence, "Correct PROXY_MODEL_ALIASES, PROXY_DEFAULT_MODEL or CODEX_UPSTREAM_MODELS."
        )
    return _of_version(result, found)


def _answer_store(site: Site) -> Result:
    kind = site.settings.response_store
    if site.offline and kind not in {"off", "sqlite"}:
        return skip("Not tried: --offline.")
    return checks.answer_store(kind, site.home.private)


def _databases(site: Site) -> Path | None:
    """Return the home whose databases the child opens: the real one's, if they are there and ours.

    The rest of it is a temporary home: a child that found a login there could renew it, and would be ended meanwhile.
    """
    root = site.home.root
    try:
        are_there = any(root.glob("*.sqlite")) and root.stat().st_uid == os.geteuid()
    except OSError:
        return None
    return root if are_there else None


def _of_version(result: Result, found: str) -> Result:
    """Return the result; a child of another version than the tested one is worth a warning."""
    pinned = pinned_version()
    if found in (pinned, "?") or result.level is Level.FAIL:
        return result
    sentence = result.sentence[:-1]
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
    if site.running.child is not None and stored.kind is LoginKind.CHATGPT:
        return checks.login_in_use(site.running)
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
    http = UpstreamHttp(site.settings.ca_certificate)
    result = checks.reachable(checks.addresses(site.upstream, kind and kind.value), http=http)
    result = checks.as_the_gateway_sees_it(result, site.running)
    if result.level is Level.OK and AUTO in site.settings.upstream_models:
        return checks.model_list(site.settings, http) or result
    return result


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
    Check("answer store", _answer_store, _ACCEPTED),
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
