"""`codex smoke` and its scripts against sockets that misbehave: every wait has an end, and says what it waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from app.cli.exit_codes import CheckFailed
from app.cli.gateway_client import GatewayClient
from app.settings import ROOT
from tests.integration.cli.conftest import KEY, Operator

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that answers the first request with these bytes, and then neither writes nor closes."""
    opened: list[socket.socket] = []

    def start(sent: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)

        def answer() -> None:
            peer, _ = listener.accept()
            opened.append(peer)
            peer.recv(65536)
            with suppress(OSError):  # who has heard enough hangs up
                peer.sendall(sent)

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for each in opened:
        each.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HEAD,
        HEAD + b"Content-Length: 9\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
)
def test_silence_has_an_end(serve: Serve, sent: bytes) -> None:
    with pytest.raises(CheckFailed, match=r"within 0\.2 seconds: .*[Tt]imeout") as found:
        GatewayClient(serve(sent), KEY, 0.2).send("/livez")
    assert "--timeout" in found.value.remedy


def test_a_body_that_trickles_has_an_end_too() -> None:
    """Each piece comes in time; all of them together do not."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            while not stop.wait(0.05):
                try:
                    peer.sendall(b"1\r\n{\r\n")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(CheckFailed, match=r"within 0\.5 seconds"):
            GatewayClient(f"http://127.0.0.1:{listener.getsockname()[1]}", KEY, 0.5).send("/livez")
    finally:
        stop.set()
        thread.join()
        listener.close()


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


def test_nobody_is_there(operator: Operator) -> None:
    done = operator.types("smoke", f"http://{nobody()}")
    assert done.returncode == 1
    assert "FAILED  livez" in done.stdout
    assert "Connection refused" in done.stdout
    assert done.stdout.splitlines()[-1] == "FAILED: livez."


def test_no_tls_there(serve: Serve) -> None:
    address = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n").replace("http", "https")
    with pytest.raises(CheckFailed, match="wrong version number"):
        GatewayClient(address, KEY, 5).send("/livez")


# The scripts


def runs(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    nothing = {"FLASK_SKIP_DOTENV": "1", "PROXY_API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [str(ROOT / "scripts" / "smoke" / script), *arguments],
        cwd="/",
        env={"PATH": os.environ["PATH"], **nothing, **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_a_script_needs_an_address_and_a_key_of_its_own(name: str) -> None:
    without = runs(f"{name}.sh", "--json")
    assert without.returncode != 0
    assert f"set {name.upper()}_URL" in without.stderr
    for arguments, variables in (
        (["https://gateway.example"], {}),
        ([], {f"{name.upper()}_URL": "https://gateway.example"}),
    ):
        done = runs(f"{name}.sh", *arguments, **variables)
        assert done.returncode == 2
        assert f"{name.upper()}_API_KEY is empty" in done.stderr


def test_production_must_have_tls() -> None:
    done = runs("prod.sh", f"http://{nobody()}", PROD_API_KEY=KEY)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "FAILED: address."


def test_development_is_this_host() -> None:
    port = nobody().rpartition(":")[2]
    done = runs("dev.sh", PORT=port)
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port}, on this host." in done.stdout
