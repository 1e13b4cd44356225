"""A child with few roots, behind either backend: replaced by one with the whole store when they no longer do."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from codex_cli_bin import bundled_codex_path

from app.backend.admission import Admission
from app.backend.engine import Engine
from app.backend.protocols import Backend
from app.backends.app_server.backend import AppServerBackend
from app.backends.per_request.backend import PerRequestBackend
from app.codex.config import Upstream, UpstreamKind
from app.codex.few_roots import FewRoots
from app.codex.home import Home
from app.codex.launch import Launcher
from scripted_upstream.client import Control
from tests.e2e.tls_front import CA, FOREIGN, TlsFront
from tests.fakes.engines import HELLO, LIMITS, PATIENT, say, texts
from tests.fakes.waiting import DEADLINE_S, deadline, eventually, in_background, result

DIGEST = hashlib.sha256(ssl.PEM_cert_to_DER_cert(CA.read_text())).hexdigest()
OF_THE_OPERATOR = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CODEX_CA_CERTIFICATE")

Make = Callable[[Launcher], Backend]


def app_server(launcher: Launcher) -> Backend:
    return AppServerBackend(launcher, LIMITS, "0.0.0")


def per_request(launcher: Launcher) -> Backend:
    return PerRequestBackend(launcher, LIMITS, "0.0.0", most=2, spare=1)


@pytest.fixture
def front(upstream_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsFront]:
    for name in OF_THE_OPERATOR:
        monkeypatch.delenv(name, raising=False)
    front = TlsFront(urlsplit(upstream_url).port or 0)
    yield front
    front.close()


@contextmanager
def running(make: Make, home: Home, front: TlsFront) -> Iterator[Backend]:
    upstream = Upstream(UpstreamKind.CONFIGURED, f"https://localhost:{front.port}/v1", has_key=True)
    roots = FewRoots(home.private, [("localhost", front.port)], CA, frozenset([DIGEST]))
    launcher = Launcher(home, bundled_codex_path(), upstream, "sk-x", 300_000, few_roots=roots)
    backend = make(launcher)
    life = in_background(backend.run)
    try:
        assert backend.wait_ready(DEADLINE_S)
        yield backend
    finally:
        with deadline():
            backend.stop()
        assert result(life) is None


def trusted_files(backend: Backend) -> set[str | None]:
    """Return what the processes that live have in SSL_CERT_FILE."""
    health = backend.health()
    pids = health.pids or tuple(filter(None, [health.pid]))
    found = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):  # it may have ended meanwhile
            found.add(psutil.Process(pid).environ().get("SSL_CERT_FILE"))
    return found


def said(backend: Backend, marker: str) -> str:
    engine = Engine(backend, Admission(4, 4), DEADLINE_S)
    with deadline(), engine.admit(1) as admitted:
        (turn,) = engine.start([say(marker)], admitted)
        try:
            return "".join(piece for batch in turn.follow(PATIENT) for piece in texts(batch))
        finally:
            turn.close()


@pytest.mark.parametrize("make", [app_server, per_request])
def test_an_untrusted_certificate_brings_the_whole_store_back(
    make: Make, tmp_path: Path, front: TlsFront, control: Control, marker: str
) -> None:
    control.script(marker, HELLO)
    home = Home(tmp_path / "home")
    with running(make, home, front) as backend:
        eventually(lambda: len(trusted_files(backend)) == 1)
        (file,) = trusted_files(backend)
        assert file is not None
        assert Path(file).parent == home.private
        assert said(backend, marker) == "Grüße ße ✓ 𝄞"
        front.present(FOREIGN)
        assert said(backend, marker) == ""
        eventually(lambda: trusted_files(backend) == {None})
    with running(make, home, front) as backend:
        assert trusted_files(backend) <= {None}


def test_a_home_that_was_used_waits_for_no_handshake(tmp_path: Path, front: TlsFront) -> None:
    home = Home(tmp_path / "home")
    with running(app_server, home, front) as backend:
        assert None not in trusted_files(backend)
    front.present(FOREIGN)
    with running(app_server, home, front) as backend:
        assert len(trusted_files(backend)) == 1
        eventually(lambda: trusted_files(backend) == {None})  # a look, while it already serves


@pytest.mark.parametrize("name", [*OF_THE_OPERATOR[:2], "HTTPS_PROXY"])
def test_what_the_operator_chose_is_left_alone(
    tmp_path: Path, front: TlsFront, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/nowhere" if "SSL" in name else "http://127.0.0.1:9")
    home = Home(tmp_path / "home")
    upstream = Upstream(UpstreamKind.CONFIGURED, f"https://localhost:{front.port}/v1")
    roots = FewRoots(home.private, [("localhost", front.port)], CA, frozenset([DIGEST]))
    launcher = Launcher(home, bundled_codex_path(), upstream, "", 300_000, few_roots=roots)
    spec = launcher.prepare()
    assert spec.env.get("SSL_CERT_FILE") == ("/nowhere" if name == "SSL_CERT_FILE" else None)
    assert not list(home.private.glob("roots-*"))
