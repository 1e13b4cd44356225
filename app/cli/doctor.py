"""`codex doctor`: everything that the service needs, one line each, with what to do where something is missing.

The table below says which checks there are, what each is given, and which others must not have failed before. Nothing
is repaired, and a running gateway is not disturbed: the child that is tried lives in a temporary CODEX_HOME; only
for the question who is logged in, one is started beside the gateway's own, as a reload does.
"""

from __future__ import annotations

import http.client
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import click

from app.cli import account, running_gateway, upstream
from app.cli.checks import Level, Result, codex, fail, files, machine, network, skip
from app.cli.child import (
    Caller,
    ChildFailed,
    binary_of,
    caller_of,
    conversation,
    gateway_version,
    launcher_of,
)
from app.cli.exit_codes import Exit, without_secrets
from app.cli.output import columns, say_json, waiting
from app.cli.upstream import Choice
from app.codex.home import Home
from app.settings import (
    ROOT,
    Settings,
    SettingsError,
    advice,
    load_settings,
    read_environment,
    unknown_names,
)


@dataclass(frozen=True, slots=True)
class Site:
    """What the checks that need settings are given."""

    settings: Settings
    home: Home
    choice: Choice
    caller: Caller
    offline: bool

    @classmethod
    def of(cls, settings: Settings, version: str, *, offline: bool) -> Site:
        """Return the site of these settings."""
        home = Home(settings.codex_home)
        choice = upstream.choose(settings, login_known=upstream.is_login_known(home))
        return cls(settings, home, choice, caller_of(settings, version), offline)


@dataclass(frozen=True, slots=True)
class Check:
    """One row. `needs` are rows above it that must not have failed."""

    name: str
    run: Callable[[Site], Result]
    needs: tuple[str, ...] = ()


_LIVES = (http.client.OK, {"status": "live"})


def _profile(site: Site) -> Result:
    return files.profile(site.settings.env, [sentence for _, sentence in advice(site.settings)])


def _codex_home(site: Site) -> Result:
    return files.home(site.home.root)


def _disk(site: Site) -> Result:
    place = files.existing(site.home.root)
    return files.disk(site.home.root, shutil.disk_usage(place).free)


def _binary(site: Site) -> Result:
    try:
        return codex.binary(binary_of(site.settings))
    except FileNotFoundError:
        return codex.binary(None)


def _version(site: Site) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        printed = codex.printed_version(binary_of(site.settings), Path(folder))
    return codex.version(printed, metadata.version("openai-codex-cli-bin"))


def _catalog(site: Site) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        return codex.catalog(launcher_of(site.settings, Home(Path(folder))))


def _child(site: Site) -> Result:
    kind = upstream.for_handshake(site.settings, site.choice)
    with tempfile.TemporaryDirectory() as folder:
        launcher = launcher_of(site.settings, Home(Path(folder)), kind)
        return codex.handshake(launcher, site.caller)


def _login(site: Site) -> Result:
    stored = account.type_in_file(site.home.auth_file)
    if stored is None or (site.offline and stored == account.CHATGPT):
        return codex.login_offline(stored, site.choice.kind)
    try:
        with conversation(launcher_of(site.settings, site.home), site.caller) as generation:
            found = account.look_up(generation, site.caller.call_s)
    except ChildFailed as error:
        found = account.Login(problem=str(error))
    return codex.login(found, site.choice.kind)


def _upstream(site: Site) -> Result:
    if site.offline:
        return network.not_tried()
    stored = account.type_in_file(site.home.auth_file)
    return network.reachable(
        [
            network.target(address, {} if proxy_bypass(urlsplit(address).netloc) else getproxies())
            for address in network.addresses(site.choice, stored)
        ]
    )


def _port(site: Site) -> Result:
    host, number = site.settings.host, site.settings.port
    ours = running_gateway.pid_of(site.home.pid_file)
    # The process id alone does not tell: our gateway may run on the port that was set before.
    lives = ours is not None and running_gateway.fetch(host, number, "/livez") == _LIVES
    return machine.port(host, number, ours if lives else None)


def _open_files(site: Site) -> Result:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return machine.open_files(hard, site.settings.connections)


CHECKS: tuple[Check, ...] = (
    Check("open files", _open_files),
    Check("client key", lambda site: files.api_key(site.settings.api_key)),
    Check("profile", _profile),
    Check("codex home", _codex_home),
    Check("disk", _disk),
    Check("config.toml", lambda site: files.foreign_config(site.home.root)),
    Check("codex binary", _binary),
    Check("codex version", _version, ("codex binary",)),
    Check("model catalog", _catalog, ("codex binary", "codex version")),
    Check("codex child", _child, ("model catalog",)),
    Check("login", _login, ("codex home", "config.toml", "codex child")),
    Check("upstream", _upstream),
    Check("port", _port),
)


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Leave out what needs the network.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
@click.pass_context
def doctor(context: click.Context, *, offline: bool, as_json: bool) -> None:
    """Check everything that the service needs; exit code 1 if anything fails."""
    results = []
    for result in examine(read_environment(), ROOT / ".env", gateway_version(), offline=offline):
        results.append(result)
        if not as_json:
            click.echo("\n".join(lines(result)))
    healthy = all(result.level is not Level.FAIL for result in results)
    if as_json:
        say_json({"healthy": healthy, "checks": results})
    else:
        click.echo("\n" + verdict(results))
    context.exit(Exit.OK if healthy else Exit.FAILED)


def examine(
    variables: Mapping[str, str], env_file: Path, version: str, *, offline: bool = False
) -> Iterator[Result]:
    """Yield every result as soon as it is known. Blocks."""
    yield machine.python_version(sys.version_info[:3])
    yield machine.shared_memory(Path("/dev/shm"))  # noqa: S108  (looked at, not written to)
    yield files.env_file(env_file)
    problems: list[str] = []
    try:
        site = Site.of(load_settings(variables), version, offline=offline)
    except SettingsError as error:
        problems = error.problems
    yield files.settings(problems, unknown_names(variables))
    if problems:
        yield from (skip(check.name, "Not tried: the settings are refused.") for check in CHECKS)
    else:
        yield from run_all(CHECKS, site)


def run_all(checks: tuple[Check, ...], site: Site) -> Iterator[Result]:
    """Yield the result of each check; one whose needs failed, or were not tried, is not tried either."""
    missing: set[str] = set()
    for check in checks:
        lacks = [name for name in check.needs if name in missing]
        if lacks:
            result = skip(check.name, f"Not tried: {lacks[0]} comes first.")
        else:
            with waiting(f"... checking: {check.name}"):
                result = _run(check, site)
        if result.level in (Level.FAIL, Level.SKIP):
            missing.add(check.name)
        yield result


def _run(check: Check, site: Site) -> Result:
    try:
        return check.run(site)
    # Whatever a check stumbles over is a finding, and the checks after it are still of use.
    except Exception as error:  # noqa: BLE001
        sentence = f"It could not be checked: {type(error).__name__}: {without_secrets(str(error))}"
        return fail(check.name, sentence, "Report this as a defect of the doctor's.")


def lines(result: Result) -> list[str]:
    """Return what a person reads of one result."""
    head, *_ = columns([(result.level.value.ljust(4), result.name.ljust(13), result.sentence)])
    return [head, f"{'':21}-> {result.remedy}"] if result.remedy else [head]


def verdict(results: list[Result]) -> str:
    """Return the last line."""
    failed = [result.name for result in results if result.level is Level.FAIL]
    warned = sum(result.level is Level.WARN for result in results)
    if failed:
        return f"The service does not work like this: {', '.join(failed)}."
    return "The service can run." + (f" Warnings: {warned}." if warned else "")
