"""Few roots against servers that speak TLS: proven before they are given, believed for a while, refuted."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.codex.few_roots import BELIEVED_S, DOUBTED_S, FewRoots, system_store
from app.codex.roots import OPENAI_HOSTS
from tests.e2e.tls_front import CA, FOREIGN, OF_CA, TlsFront
from tests.fakes.waiting import deadline

DIGEST = hashlib.sha256(ssl.PEM_cert_to_DER_cert(CA.read_text())).hexdigest()


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    with deadline():
        yield


@pytest.fixture
def fronts() -> Iterator[list[TlsFront]]:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        fronts = [TlsFront(plain.getsockname()[1]) for _ in range(2)]
        yield fronts
        for front in fronts:
            front.close()


@pytest.fixture
def roots(tmp_path: Path, fronts: list[TlsFront]) -> FewRoots:
    return roots_in(tmp_path, fronts)


def roots_in(folder: Path, fronts: list[TlsFront], store: Path = CA) -> FewRoots:
    return FewRoots(
        folder, [("localhost", front.port) for front in fronts], store, frozenset([DIGEST])
    )


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "roots-proof.json").read_text())
    return found


def change(folder: Path, **members: Any) -> None:
    (folder / "roots-proof.json").write_text(json.dumps(record(folder) | members))


def closed(fronts: list[TlsFront]) -> FewRoots:
    """Return roots for ports at which nobody is."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    return FewRoots(Path(), [("localhost", port) for _ in fronts], CA, frozenset([DIGEST]))


def test_what_every_host_is_trusted_with_is_given(roots: FewRoots, tmp_path: Path) -> None:
    path = roots.file()
    assert path is not None
    assert ssl.PEM_cert_to_DER_cert(path.read_text()) == ssl.PEM_cert_to_DER_cert(CA.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert record(tmp_path)["proof"] == "trusted"
    assert not roots.is_refuted()


@pytest.mark.parametrize("which", [0, 1])
def test_one_host_that_is_not_trusted_is_enough_to_give_none(
    roots: FewRoots, fronts: list[TlsFront], tmp_path: Path, which: int
) -> None:
    fronts[which].present(FOREIGN)
    assert roots.file() is None
    assert record(tmp_path)["proof"] == "untrusted"
    assert not roots.is_refuted(), "there is nothing to take away from the child"


def test_a_certificate_of_another_name_is_not_trusted(
    tmp_path: Path, fronts: list[TlsFront]
) -> None:
    # The same place by a name that the certificate does not have.
    roots = FewRoots(tmp_path, [("127.1", fronts[0].port)], CA, frozenset([DIGEST]))
    assert roots.file() is None
    assert record(tmp_path)["proof"] == "untrusted"


def test_what_is_in_the_store_and_not_wanted_is_not_given(
    tmp_path: Path, fronts: list[TlsFront]
) -> None:
    both = tmp_path / "both.pem"
    both.write_text(CA.read_text() + FOREIGN.read_text())
    path = roots_in(tmp_path, fronts, both).file()
    assert path is not None
    assert path.read_text().count("BEGIN CERTIFICATE") == 1


def test_a_store_without_what_is_wanted_gives_none(tmp_path: Path, fronts: list[TlsFront]) -> None:
    roots = roots_in(tmp_path, fronts, FOREIGN)
    assert roots.file() is None
    assert not roots.is_refuted()


def test_hosts_that_are_away_give_none_at_first(tmp_path: Path, fronts: list[TlsFront]) -> None:
    roots = closed(fronts)
    roots.folder = tmp_path
    assert roots.file() is None
    assert record(tmp_path)["proof"] == "unreached"


def test_a_host_that_says_nothing_is_not_waited_for_for_long(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        roots = FewRoots(
            tmp_path, [("localhost", mute.getsockname()[1])] * 3, CA, frozenset([DIGEST])
        )
        began = time.monotonic()
        with deadline(10):
            assert roots.file() is None
        # Not more for three hosts than for one: they are asked at the same time.
        assert time.monotonic() - began < 3 * 1.5
        assert record(tmp_path)["proof"] == "unreached"


def test_a_proof_is_believed_without_another_handshake(
    roots: FewRoots, fronts: list[TlsFront], tmp_path: Path
) -> None:
    first = roots.file()
    for front in fronts:
        front.present(FOREIGN)
    assert roots_in(tmp_path, fronts).file() == first


@pytest.mark.parametrize(
    ("proof", "age_s", "is_believed"),
    [
        ("trusted", BELIEVED_S - 60, True),
        ("trusted", BELIEVED_S + 1, False),
        ("trusted", -60, False),
        ("untrusted", DOUBTED_S - 60, True),
        ("untrusted", DOUBTED_S + 1, False),
        ("unreached", DOUBTED_S - 60, True),
        ("unreached", DOUBTED_S + 1, False),
    ],
)
def test_how_long_a_proof_is_believed(
    roots: FewRoots,
    fronts: list[TlsFront],
    tmp_path: Path,
    proof: str,
    age_s: float,
    *,
    is_believed: bool,
) -> None:
    roots.file()
    change(tmp_path, proof=proof, at=time.time() - age_s)
    # The opposite of what is recorded.
    for front in fronts:
        front.present(FOREIGN if proof == "trusted" else OF_CA)
    is_given = roots.file() is not None
    assert is_given is ((proof == "trusted") is is_believed)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"proof":"trusted"}', b'{"at":1e999,"proof":"trusted"}', b"\xff"],
)
def test_a_record_that_is_none_is_made_anew(
    roots: FewRoots, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "roots-proof.json").write_bytes(content)
    assert roots.file() is not None
    assert record(tmp_path)["proof"] == "trusted"


def test_the_proof_of_other_hosts_is_none(
    roots: FewRoots, fronts: list[TlsFront], tmp_path: Path
) -> None:
    assert roots.file() is not None
    fronts[1].present(FOREIGN)
    assert roots_in(tmp_path, fronts[1:]).file() is None


def test_a_file_that_was_tampered_with_is_written_again(roots: FewRoots) -> None:
    path = roots.file()
    assert path is not None
    path.write_text(FOREIGN.read_text())
    assert roots.file() == path
    assert path.read_text().strip() == CA.read_text().strip()


def test_a_host_with_another_certificate_refutes_what_the_child_has(
    roots: FewRoots, fronts: list[TlsFront], tmp_path: Path
) -> None:
    assert roots.file() is not None
    fronts[1].present(FOREIGN)
    assert roots.is_refuted()
    fronts[1].present(OF_CA)
    assert roots.is_refuted(), "a host may show one certificate here, another there"
    assert roots.file() is None
    assert not roots.is_refuted(), "the next child has none"
    assert roots_in(tmp_path, fronts).file() is None, "nor after a restart"


def test_a_network_that_is_away_refutes_nothing(
    roots: FewRoots, fronts: list[TlsFront], tmp_path: Path
) -> None:
    path = roots.file()
    before = record(tmp_path)
    roots.hosts = closed(fronts).hosts
    change(tmp_path, hosts=[f"{host}:{port}" for host, port in roots.hosts])
    assert not roots.is_refuted()
    assert roots.file() == path
    assert record(tmp_path)["at"] == before["at"]


def test_a_proof_is_renewed_by_each_look(roots: FewRoots, tmp_path: Path) -> None:
    roots.file()
    change(tmp_path, at=time.time() - 1000)
    assert not roots.is_refuted()
    assert time.time() - record(tmp_path)["at"] < 500


def test_what_is_proven_while_a_child_runs_is_for_the_next(roots: FewRoots, tmp_path: Path) -> None:
    roots.file()
    change(tmp_path, proof="unreached")
    assert roots.file() is None
    assert not roots.is_refuted()
    assert roots.file() is not None


def test_a_folder_that_cannot_be_written_is_an_error_of_the_disk(
    tmp_path: Path, fronts: list[TlsFront]
) -> None:
    with pytest.raises(OSError, match="none"):
        roots_in(tmp_path / "none", fronts).file()


def test_the_system_s_store_is_a_file_with_many(tmp_path: Path) -> None:
    assert system_store().read_text(errors="replace").count("BEGIN CERTIFICATE") > 50
    assert FewRoots(tmp_path).hosts == OPENAI_HOSTS
    assert list(tmp_path.iterdir()) == []
