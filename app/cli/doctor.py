"""`codex doctor`: a check of everything that the service needs, with what to do where something is missing.

Nothing is repaired, and a running gateway is not disturbed: the child that is tried lives in a temporary CODEX_HOME.
Only to look up the login, a child is started beside the gateway's own, as a reload does.
"""

from __future__ import annotations

import http.client
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import click

from app.cli import account, running_gateway
from app.cli.checks import (
    Check,
    Level,
    Result,
    T,
    codex,
    fail,
    files,
    lines,
    machine,
    network,
    run_checks,
    skip,
)
from app.cli.child import ChildFailed, binary_of, conversation, for_handshake, launcher_of
from app.cli.exit_codes import Exit, without_secrets
from app.cli.output import say_json, waiting
from app.codex.config import Upstream
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

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (looked at, not written to)
_LIVES = (http.client.OK, {"status": "live"})


@dataclass(frozen=True, slots=True)
class Site:
    """What the checks that need settings are given."""

    settings: Settings
    home: Home
    upstream: Upstream
    offline: bool

    @classmethod
    def of(cls, settings: Settings, *, offline: bool) -> Site:
        """Return the site of these settings."""
        home = Home(settings.codex_home)
        return cls(settings, home, choose_upstream(settings, home).upstream, offline)


def _open_files(site: Site) -> Result:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return machine.open_files(limit, site.settings.connections)


def _binary(site: Site) -> Result:
    try:
        return codex.binary(binary_of(site.settings))
    except FileNotFoundError:
        return codex.binary(None)


def _version(site: Site) -> Result:
    printed = codex.printed_version(binary_of(site.settings))
    return codex.version(printed, metadata.version("openai-codex-cli-bin"))


def _catalog(site: Site) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        return codex.catalog(launcher_of(site.settings, Home(Path(folder))))


def _child(site: Site) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        home, upstream = Home(Path(folder)), for_handshake(site.upstream)
        return codex.handshake(launcher_of(site.settings, home, upstream), site.settings)


def _login(site: Site) -> Result:
    stored = account.type_in_file(site.home.auth_file)
    if stored is None or (site.offline and stored == account.CHATGPT):
        return codex.login_offline(stored, site.upstream.kind)
    try:
        with conversation(launcher_of(site.settings, site.home), site.settings) as connection:
            found = account.look_up(connection, site.settings.rpc_timeout_ms / 1000)
    except ChildFailed as error:
        found = account.Login(problem=str(error))
    return codex.login(found, site.upstream.kind)


def _upstream(site: Site) -> Result:
    if site.offline:
        return skip("Not tried: --offline.")
    stored = account.type_in_file(site.home.auth_file)
    return network.reachable(
        [
            network.target(address, {} if proxy_bypass(urlsplit(address).netloc) else getproxies())
            for address in network.addresses(site.upstream, stored)
        ]
    )


def _port(site: Site) -> Result:
    host, number = site.settings.host, site.settings.port
    ours = running_gateway.pid_of(site.home.pid_file)
    # The process id alone does not tell: our gateway may run on the port that was set before.
    lives = ours is not None and running_gateway.fetch(host, number, "/livez") == _LIVES
    return machine.port(host, number, ours if lives else None)


CHECKS: tuple[Check[Site], ...] = (
    Check("open files", _open_files),
    Check("client key", lambda site: files.api_key(site.settings.api_key)),
    Check("profile", lambda site: files.profile(site.settings.env, advice(site.settings))),
    Check("codex home", lambda site: files.home(site.home.root)),
    Check("disk", lambda site: files.disk(site.home.root, files.free_bytes(site.home.root))),
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
    for result in examine(read_environment(), ROOT / ".env", offline=offline):
        results.append(result)
        if not as_json:
            head = f"{result.level.value:4}  {result.name:13}"
            click.echo("\n".join(lines(head, result.sentence, result.remedy)))
    healthy = all(result.level is not Level.FAIL for result in results)
    if as_json:
        say_json({"healthy": healthy, "checks": results})
    else:
        click.echo("\n" + verdict(results))
    context.exit(Exit.OK if healthy else Exit.FAILED)


def examine(
    variables: Mapping[str, str], env_file: Path, *, offline: bool = False
) -> Iterator[Result]:
    """Yield every result as soon as it is known. Blocks."""
    site: Site | None = None
    problems: list[str] = []
    try:
        site = Site.of(load_settings(variables), offline=offline)
    except SettingsError as error:
        problems = error.problems
    first: tuple[Check[None], ...] = (
        Check("python", lambda _: machine.python_version(sys.version_info[:3])),
        Check("shared memory", lambda _: machine.shared_memory(_SHARED_MEMORY)),
        Check("env file", lambda _: files.env_file(env_file)),
        Check("settings", lambda _: files.settings(problems, unknown_names(variables))),
    )
    yield from run_checks(first, partial(attempt, None))
    if site is not None:
        yield from run_checks(CHECKS, partial(attempt, site))
        return
    for check in CHECKS:
        yield Result(check.name, Level.SKIP, "Not tried: the settings are refused.")


def attempt(given: T, check: Check[T]) -> Result:
    """Return the result of one check. Blocks, and says so where it takes long."""
    try:
        with waiting(f"... checking: {check.name}"):
            return check.run(given)
    # Whatever a check stumbles over is a finding, and the checks after it are still of use.
    except Exception as error:  # noqa: BLE001
        sentence = f"It could not be checked: {type(error).__name__}: {without_secrets(str(error))}"
        return fail(sentence, "Report this as a defect of the doctor's.")


def verdict(results: list[Result]) -> str:
    """Return the last line."""
    failed = [result.name for result in results if result.level is Level.FAIL]
    warned = sum(result.level is Level.WARN for result in results)
    if failed:
        return f"The service does not work like this: {', '.join(failed)}."
    return "The service can run." + (f" Warnings: {warned}." if warned else "")
