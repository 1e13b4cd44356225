"""Checks of `codex doctor`: each is given what it judges, and returns a `Result`."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import socket
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.answer_store.calls import Problem
from app.answer_store.look import look_at
from app.cli.account import API_KEY, CHATGPT, Login
from app.cli.checks import Level, Result, fail, ok, skip, warn
from app.cli.running_gateway import Running
from app.codex.config import Upstream, UpstreamKind
from app.codex.upstream_failures import API, CHATGPT_SITES
from app.codex.upstream_http import Unreachable, UpstreamHttp, odd_proxies
from app.codex.upstream_models import read_list
from app.process.lifecycle import State
from app.settings import OTHER_DESCRIPTORS, Settings, descriptors

_MB = 1 << 20
LOW_MB = 1024
TOO_LOW_MB = 64

LOG_IN = ".venv/bin/flask --app wsgi codex login"
_EXPIRED = f"If the network is fine (see upstream), the login has expired or was revoked: {LOG_IN}"
_LOGIN_AT_FAULT = re.compile(
    r"\b(401|403|unauthori[sz]ed|expired|revoked|refresh token)\b", re.IGNORECASE
)
"""Words of a failure that say that the login itself is at fault."""

_OPENAI = {API_KEY: (API,), CHATGPT: CHATGPT_SITES}


def open_files(limit: int, connections: int, others: int = OTHER_DESCRIPTORS) -> Result:
    """Judge the hard limit of open files as the start does. A negative limit means none."""
    try:
        found = descriptors.plan(connections, others, soft=max(limit, 0), hard=limit)
    except descriptors.TooFew as refusal:
        return fail(refusal.sentence, refusal.remedy)
    if not found.lacking:
        return ok("As many may be open as the clients need.")
    return warn(
        f"Only {limit} may be open, which is less than {connections} clients need: {found.connections} are accepted.",
        descriptors.remedy(connections + others),
    )


def home(root: Path) -> Result:
    """Judge CODEX_HOME: whether it is there or can be made, ours, writable, closed to others, without a config.toml."""
    place = _existing(root)
    try:
        tempfile.TemporaryFile(dir=place).close()  # permissions do not tell about the mount
    except OSError as error:
        remedy = "Give it to the service's user (chown, chmod 700), or point CODEX_HOME elsewhere."
        return fail(f"{place} is not writable: {error.strerror}.", remedy)
    if place != root:
        return ok(f"{root} does not exist yet; the first start makes it.")
    found = root.stat()
    if found.st_uid != os.geteuid():
        remedy = "Run this as the service's user, or give it the folder (chown)."
        return fail(f"{root} belongs to another user (uid {found.st_uid}).", remedy)
    config = root / "config.toml"
    if os.path.lexists(config):
        return fail(
            f"{config} exists; the gateway does not start codex beside settings that it does not know.",
            "Move it away, or point CODEX_HOME to another folder.",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode != stat.S_IRWXU:
        sentence = f"{root} has mode {mode:04o}; the login in it should be nobody else's."
        return warn(sentence, f"chmod 700 {shlex.quote(str(root))} (the next start does it, too)")
    return ok(f"{root} is writable and closed to other users.")


def disk(root: Path, free_bytes: int | None = None) -> Result:
    """Judge the room for codex's databases: what is free on the disk that has the folder or will have it."""
    if free_bytes is None:
        free_bytes = shutil.disk_usage(_existing(root)).free
    free = free_bytes // _MB
    sentence = f"{free} MB free for {root}."
    if free >= LOW_MB:
        return ok(sentence)
    judge = fail if free < TOO_LOW_MB else warn
    return judge(sentence, "Make room, or point CODEX_HOME to another disk.")


def answer_store(kind: str, folder: Path) -> Result:
    """Judge the store of answers: `off`, `sqlite`, whose file is in `folder`, or the URL of a Redis."""
    if kind == "off":
        return ok("off: no answer is stored.")
    name = "sqlite" if kind == "sqlite" else "redis"
    try:
        found = look_at(kind, folder)
    except Problem as problem:
        remedy = "docs/runbooks/operational.md: Answers are not stored."
        return warn(f"{name}: {problem.detail}; no answer can be stored or read.", remedy)
    if found is not None:
        return ok(f"{name}: {found.answers} answers, {found.size // _MB} MB.")
    return ok(f"{name}: nothing was stored yet." if name == "sqlite" else f"{name}: it answers.")


def _existing(path: Path) -> Path:
    """Return the nearest of the path and its parents that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def login(found: Login, kind: UpstreamKind) -> Result:
    """Judge the login that codex found, for an upstream that is not configured."""
    if found.problem:
        sentence = f"There is a login, but codex could not look it up: {found.problem}"
        return fail(sentence, _EXPIRED)
    if found.limits_problem:
        judge = fail if _LOGIN_AT_FAULT.search(found.limits_problem) else warn
        return judge(f"{found.account}; its limits: {found.limits_problem}", _EXPIRED)
    if found.account is not None:
        return ok(f"{found.account}.")
    if kind is UpstreamKind.OPENAI:
        return fail("Nobody is logged in: every request is answered 503.", LOG_IN)
    return warn("Nobody ever logged in: the demo upstream serves.", LOG_IN)


def addresses(upstream: Upstream, login_type: str | None) -> tuple[str, ...]:
    """Return what the child connects to; nothing for the demo upstream, a process of the gateway's."""
    if upstream.kind is UpstreamKind.CONFIGURED:
        return (upstream.base_url,)
    if upstream.kind is UpstreamKind.DEMO:
        return ()
    return _OPENAI.get(login_type or "", (API, *CHATGPT_SITES))


def reachable(
    targets: Sequence[str], timeout_s: float = 5.0, http: UpstreamHttp | None = None
) -> Result:
    """Send a request without a key to each, as codex would: with the shell's proxy and the same certificates.

    Any answer will do. Blocks, for twice the timeout each at most.
    """
    if not targets:
        return ok("The demo upstream is a process of the gateway's own.")
    for target in targets:
        try:
            (http or UpstreamHttp()).touch(target, timeout_s)
        except Unreachable as error:
            if error.cause == "untried":
                return skip(f"{target}: not tried through a SOCKS proxy.")
            return fail(f"{target}: {error.cause}. {error}", _WAY_OUT)
    reached = f"Reached {', '.join(targets)}."
    if odd := odd_proxies():
        sentence = f"{reached} {', '.join(odd)}: no address of a proxy, so codex ignores it."
        return warn(sentence, "Correct it (http://host:port), or unset it.")
    return ok(reached)


_WAY_OUT = (
    "Check the address, the firewall, HTTPS_PROXY, CODEX_CA_CERTIFICATE and SSL_CERT_FILE; "
    "--offline leaves this out."
)


def as_the_gateway_sees_it(result: Result, running: Running) -> Result:
    """Return the result of trying the upstream; a warning where the running gateway could not reach it lately."""
    failure = (running.child or {}).get("last_upstream_failure")
    if result.level is not Level.OK or not failure:
        return result
    return warn(
        f"{result.sentence} The running gateway did not at {failure['at']}: {failure['cause']}.",
        "If it still does not: compare its proxies and certificates with those of this shell.",
    )


def model_list(settings: Settings, http: UpstreamHttp) -> Result | None:
    """Read the upstream's list of models; a warning where that fails, and the last known one serves."""
    try:
        read_list(settings.upstream_url, settings.upstream_api_key, http)
    except Unreachable as error:
        return warn(
            f"Its models could not be read ({error.cause}): {error} The last known list is offered, if there is one.",
            "Name them in CODEX_UPSTREAM_MODELS, or correct CODEX_UPSTREAM_API_KEY.",
        )
    return None


def child_of(running: Running, found: str) -> Result:
    """Judge the child of the gateway that runs, from what its `/healthz` says; `found` is its version."""
    child = running.child or {}
    if child.get("state") == State.READY.value:
        return ok(f"codex {found} serves in the running gateway, pid {child.get('pid')}.")
    last = child.get("last_exit") or {}
    why = last.get("detail") or last.get("reason") or running.reason or child.get("state")
    return fail(f"The running gateway's child does not serve: {why}", _NO_CHILD)


_NO_CHILD = "docs/runbooks/operational.md: The child does not start."


def login_in_use(running: Running) -> Result:
    """Judge a ChatGPT login that a running gateway uses. No second child is asked: it might renew it meanwhile."""
    if running.reason == "upstream_auth":
        return fail(
            "ChatGPT; the running gateway says that it was refused or is unusable.", _EXPIRED
        )
    return ok("ChatGPT, in use by the running gateway.")


def port(host: str, number: int, ours: int | None) -> Result:
    """Judge the port: free, or used by the gateway whose process id is `ours`. Takes it for a moment if it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, number), family=family).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            remedy = "Set PROXY_HOST to an address that `ip addr` shows, and PORT above 1023."
            return fail(f"{number} on {host} cannot be had: {error.strerror}.", remedy)
    else:
        return ok(f"{number} on {host} is free.")
    if ours is not None:
        return ok(f"{number} on {host} is used by our own gateway, pid {ours}.")
    remedy = f"ss -ltnp 'sport = :{number}' shows which; end it, or set PORT to another number."
    return fail(f"{number} on {host} is in use by another program.", remedy)
