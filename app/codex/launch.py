"""Launch of the child: the command that starts it, from the settings.

The environment is an allow-list. The gateway's own variables never get in: the model must find no key in a child that
it might one day talk into printing its environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import certifi
from gevent import subprocess

from app.codex.binary import CHILD_PATH, check_binary
from app.codex.catalog import OWN_MODELS, Offer
from app.codex.config import (
    UPSTREAM_KEY_VARIABLE,
    Upstream,
    UpstreamKind,
    child_config,
    to_arguments,
)
from app.codex.few_roots import FewRoots
from app.codex.home import Home
from app.codex.roots import is_operators_choice
from app.codex.upstream_http import UpstreamHttp
from app.codex.upstream_models import UpstreamModels
from app.process.child import ChildSpec, before_exec, failed_start
from app.process.stderr import last_words

_CATALOG_TIMEOUT_S = 20

CHILD_THREADS = 16
"""Threads for the child's turns, at least. With one for each processor, a few long lines of the upstream would hold up
the streams of everybody (ADR-0057)."""

CHILD_MEMORY = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0"
"""How codex's own allocator (jemalloc, linked statically) gives pages back to the system: a second after they were last
used, by a thread of its own. By its default it does so only while it is used, and keeps what a burst took."""

_PASSED_ON = ("LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(slots=True)
class Launcher:
    """Prepares CODEX_HOME and says how to start the child in it.

    `model_words` are those of CODEX_UPSTREAM_MODELS; without any, codex's own models are offered.
    """

    home: Home
    binary: Path
    upstream: Upstream
    upstream_key: str
    stream_idle_timeout_ms: int
    ca_certificate: Path | None = None
    model_words: tuple[str, ...] = ()
    databases: Path | None = None
    """Where the child keeps its databases, if not in CODEX_HOME."""
    few_roots: FewRoots | None = None
    """Certificates in place of the system's whole store; None also where the operator has chosen what to trust."""
    http: UpstreamHttp = field(init=False)
    models: UpstreamModels | None = field(init=False, default=None)
    offered: Offer = field(init=False, default=OWN_MODELS)
    """The models of the child that was prepared last."""

    def __post_init__(self) -> None:
        self.http = UpstreamHttp(self.ca_certificate)
        if is_operators_choice(self.environment(os.environ)):
            self.few_roots = None
        if self.model_words:
            self.models = UpstreamModels(
                self.model_words, self.upstream.base_url, self.upstream_key, self.home, self.http
            )

    def prepare(self) -> ChildSpec:
        """Return what to start. Raises `OSError` or `ValueError`.

        Blocks while the binary prints its catalog, and hosts prove their certificates: the first time.
        """
        check_binary(self.binary)
        self.home.prepare()
        if self.upstream.kind is UpstreamKind.OPENAI:
            self.home.check_login_ends()
        env = self.environment()
        self.offered = self.models.offer() if self.models is not None else OWN_MODELS
        catalog = self.home.write_catalog(self._printed_catalog(env), self.offered)
        config = child_config(
            self.upstream, catalog=catalog, stream_idle_timeout_ms=self.stream_idle_timeout_ms
        )
        if self.databases is not None:
            config["sqlite_home"] = str(self.databases)
        if roots := self._roots():
            env["SSL_CERT_FILE"] = str(roots)
        return ChildSpec(
            name="codex",
            argv=(str(self.binary), "app-server", *to_arguments(config)),
            env=env,
            cwd=self.home.workspace,
        )

    def _roots(self) -> Path | None:
        """Return what the child is to trust; None for what its environment or the system says."""
        if not self.upstream.needs_tls:
            return self.home.write_certificates(Path(certifi.where()))
        return self.few_roots.file() if self.few_roots is not None else None

    def environment(self, ours: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the child's whole environment; `ours` is this process's, unless told otherwise."""
        ours = os.environ if ours is None else ours
        names = list(_PASSED_ON)
        if self.upstream.kind is not UpstreamKind.DEMO:  # that one is on loopback
            names += [*_PROXIES, *(name.lower() for name in _PROXIES)]
        env = {name: ours[name] for name in names if name in ours}
        if self.ca_certificate is not None:
            # The setting's: it may be in `.env`, and relative to the checkout.
            env["CODEX_CA_CERTIFICATE"] = str(self.ca_certificate)
        env |= {
            "PATH": CHILD_PATH,
            "HOME": str(self.home.root),
            "CODEX_HOME": str(self.home.root),
            "TMPDIR": str(self.home.tmp),
            "TOKIO_WORKER_THREADS": str(max(CHILD_THREADS, os.cpu_count() or 1)),
            "_RJEM_MALLOC_CONF": CHILD_MEMORY,
        }
        if self.upstream.has_key:
            env[UPSTREAM_KEY_VARIABLE] = self.upstream_key
        return env

    def doubt(self) -> None:
        """Note that a child did not come up: the next start asks the binary again for what was kept of it."""
        self.home.printed_catalog.forget()

    def _printed_catalog(self, env: Mapping[str, str]) -> bytes:
        printed = self.home.printed_catalog.read(self.binary)
        if printed is None:
            printed = self._print_catalog(env)
            self.home.printed_catalog.write(self.binary, printed)
        return printed

    def _print_catalog(self, env: Mapping[str, str]) -> bytes:
        done = subprocess.run(
            [str(self.binary), "debug", "models", "--bundled"],
            env=dict(env),
            cwd=self.home.workspace,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=before_exec(os.getpid()),  # it writes to CODEX_HOME, too, and may hang
            timeout=_CATALOG_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            problem = f"the codex binary could not print its models (exit {done.returncode})"
            said = last_words(done.stderr.decode(errors="replace").splitlines())
            raise OSError(failed_start(problem, said))
        return bytes(done.stdout)


def apart(spec: ChildSpec, folder: Path) -> ChildSpec:
    """Return the same start with databases and temporary files in a folder of that child's own.

    The login stays the one file: a copy that codex renews would leave the original worth nothing.
    """
    databases = to_arguments({"sqlite_home": str(folder)})
    return replace(spec, argv=(*spec.argv, *databases), env=spec.env | {"TMPDIR": str(folder)})
