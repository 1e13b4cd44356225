"""Dialect of `codex proto` (CLIs up to 0.42): a process is one conversation, in a CODEX_HOME of its own."""

from __future__ import annotations

import os
import re
import time
from copy import copy
from dataclasses import replace
from pathlib import Path

from codex_cli_bin import bundled_codex_path
from gevent import subprocess

from app.backend.request import TurnRequest
from app.backends.app_server.limits import Limits
from app.backends.per_request.dialect import Surroundings
from app.backends.per_request.proto import config, prompt
from app.backends.per_request.proto.connection import ProtoConnection
from app.backends.per_request.proto.login import PinnedRenewal, lent
from app.codex.auth_file import LoginMark
from app.codex.binary import BinaryRefused, check_binary
from app.codex.catalog import OWN_MODELS
from app.codex.config import UpstreamKind, to_arguments
from app.codex.launch import Launcher
from app.codex.login import Login
from app.process import fork_filter
from app.process.child import Child, ChildSpec, before_exec

_VERSION_TIMEOUT_S = 20
_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)\S*")


class ProtoDialect:
    """See `app.backends.per_request.dialect.Dialect`. Its processes can start none of their own."""

    version = config.TESTED_VERSION

    def __init__(self, launcher: Launcher, limits: Limits, version: str) -> None:
        self._launcher = launcher
        self._login = Login(launcher.home, launcher.upstream.kind)
        pinned = copy(launcher)
        pinned.binary = Path(bundled_codex_path())
        self._renewal = PinnedRenewal(pinned, version)
        self._found = ""

    def check(self, request: TurnRequest) -> None:
        """Raise `InvalidRequest` for what is more than a conversation of texts."""
        prompt.check(request)

    def prepare(self) -> ChildSpec:
        """Return what starts have in common. Raises `OSError`; blocks while the binary prints its version."""
        launcher = self._launcher
        check_binary(launcher.binary)
        if not fork_filter.is_available():
            raise BinaryRefused(
                "WORKER_PER_REQUEST_DIALECT=proto needs Linux on x86-64 or arm64: elsewhere nothing keeps the commands "
                "that codex proto offers the model from running. Take app-server."
            )
        launcher.home.prepare()
        if launcher.upstream.kind is UpstreamKind.OPENAI:
            launcher.home.check_login_ends()
        env = launcher.environment()
        self._found = self._read_version(env)
        launcher.offered = launcher.models.offer() if launcher.models is not None else OWN_MODELS
        common = config.child_config(
            launcher.upstream, stream_idle_timeout_ms=launcher.stream_idle_timeout_ms
        )
        argv = (str(launcher.binary), *to_arguments(common), "proto")
        return ChildSpec("codex", argv, env, Path(config.CWD), is_alone=True)

    def apart(self, spec: ChildSpec, folder: Path) -> ChildSpec:
        """Return the start of one process in a CODEX_HOME of its own, with a login that it cannot spend.

        Blocks while a login that is due is renewed. Raises `OSError`, `SubprocessError`.
        """
        (folder / "config.toml").touch()  # it would say that there is none
        instructions = folder / "instructions.md"
        instructions.write_text(prompt.INSTRUCTIONS)
        if self._login.is_due():
            self._renewal.renew_due()
        if self._login.mark is not None:
            stored = self._launcher.home.auth_file
            (folder / stored.name).write_bytes(lent(stored.read_bytes(), time.time()))
        more = to_arguments({"experimental_instructions_file": str(instructions)})
        own = dict.fromkeys(("CODEX_HOME", "HOME", "TMPDIR"), str(folder))
        return replace(spec, argv=(*spec.argv[:-1], *more, spec.argv[-1]), env=spec.env | own)

    def connect(
        self, number: int, child: Child, login: LoginMark | None, shared: Surroundings
    ) -> ProtoConnection:
        """Return the connection to a process that has just been started."""
        models = config.models(self._launcher.offered)
        return ProtoConnection(
            number,
            child,
            login,
            shared,
            version=self._found,
            models=models,
            renew=self._renewal.renew,
        )

    def _read_version(self, env: dict[str, str]) -> str:
        """Return the binary's version. Raises `BinaryRefused` for one that has no `proto`; blocks."""
        done = subprocess.run(
            [str(self._launcher.binary), "--version"],
            env=env,
            cwd=self._launcher.home.workspace,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=before_exec(os.getpid(), is_alone=True),
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
        said = done.stdout.decode(errors="replace")
        found = _VERSION.search(said)
        if done.returncode != 0 or found is None:
            raise BinaryRefused("CODEX_BIN does not tell its version, as codex does for --version.")
        if (int(found[1]), int(found[2])) > (0, config.LAST_MINOR):
            raise BinaryRefused(
                f"CODEX_BIN is codex {found[0]}, which has no `proto`: the last that has it is 0.{config.LAST_MINOR}. "
                "Name that binary, or take WORKER_PER_REQUEST_DIALECT=app-server."
            )
        return found[0]
