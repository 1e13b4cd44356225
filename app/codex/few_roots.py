"""Small store of certificates for the child, for as long as OpenAI's hosts are trusted with it (ADR-0064).

It is proven by a handshake with each host before a child is started with it, and again while the child runs. What came
of that is kept in CODEX_HOME, so that only the first start waits for it. Where a host is not trusted, or was not
reached, children are given no file, and codex takes the system's whole store.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import certifi
import gevent
import orjson
from gevent import socket, ssl

from app.codex.roots import OPENAI_HOSTS, PLAUSIBLE, Address, choose
from app.scrub import one_line

log = logging.getLogger("codex_api.codex")

_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems have their whole store; codex looks at these places, too."""

_FIRST_PROOF_S = 1.5
_LATER_PROOF_S = 10.0
BELIEVED_S = 7 * 86_400.0
"""How long a proof counts. While the service runs, it is renewed all the time."""

DOUBTED_S = 86_400.0
"""How long the whole store is taken after a proof that failed, unless a later one succeeds."""

CHECK_EVERY_S = 1800.0


class Proof(Enum):
    """What came of the handshakes with all hosts. The value is what the file has."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    UNREACHED = "unreached"


def system_store() -> Path:
    """Return the file with the system's whole store; certifi's where there is none."""
    return next((path for path in map(Path, _STORES) if path.is_file()), Path(certifi.where()))


@dataclass(slots=True)
class FewRoots:
    """The file and its proof, in a folder of the gateway's own.

    `wanted` are SHA-256 of certificates; of these, the file has those that `store` has.
    """

    folder: Path
    hosts: Sequence[Address] = OPENAI_HOSTS
    store: Path = field(default_factory=system_store)
    wanted: frozenset[str] = frozenset(PLAUSIBLE)
    _given: Path | None = field(init=False, default=None)

    def file(self) -> Path | None:
        """Return the file for the child that is started next; None for the whole store.

        Blocks for a second and a half at most, and only where there is no recent proof. Raises `OSError`.
        """
        self._given = None
        path = self._write()
        if path is not None and (self._recorded(path) or self._prove(path, _FIRST_PROOF_S)) is (
            Proof.TRUSTED
        ):
            self._given = path
        return self._given

    def is_refuted(self) -> bool:
        """Try the hosts anew; True where the child that was started last has a file with which one is not trusted.

        Blocks for some seconds at most.
        """
        path = self._given or self._write()
        if path is None:
            return False
        proof = self._recorded(path)
        if (
            proof is not Proof.UNTRUSTED
        ):  # that holds for a day: a host may show one certificate here, another there
            proof = self._prove(path, _LATER_PROOF_S)
        return self._given is not None and proof is Proof.UNTRUSTED

    # The file

    def _write(self) -> Path | None:
        """Write the file and return its path; None where the store has none of the certificates."""
        roots = choose(self.store.read_text(encoding="utf-8", errors="replace"), self.wanted)
        if not roots:
            return None
        path = self.folder / f"roots-{hashlib.sha256(roots.encode()).hexdigest()[:16]}.pem"
        with suppress(OSError):
            if path.read_text(encoding="utf-8") == roots:
                return path
        self._replace(path, roots.encode())
        return path

    def _replace(self, path: Path, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)

    # What is known

    @property
    def _record(self) -> Path:
        return self.folder / "roots-proof.json"

    def _about(self, path: Path) -> dict[str, Any]:
        return {"file": path.name, "hosts": [f"{host}:{port}" for host, port in self.hosts]}

    def _recorded(self, path: Path) -> Proof | None:
        """Return what the last handshakes with this file and these hosts showed; None where that is too long ago."""
        try:
            found = orjson.loads(self._record.read_bytes())
            age_s, proof = time.time() - found.pop("at"), Proof(found.pop("proof"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        limit_s = BELIEVED_S if proof is Proof.TRUSTED else DOUBTED_S
        return proof if found == self._about(path) and 0 <= age_s < limit_s else None

    def _prove(self, path: Path, timeout_s: float) -> Proof:
        """Shake hands with every host; keep and return what that showed. Blocks; raises nothing."""
        before = self._recorded(path)
        attempts = [gevent.spawn(shake_hands, host, path, timeout_s) for host in self.hosts]
        try:
            gevent.joinall(attempts)
        finally:
            # As an error of the network, at which the library closes the connection that it has just made.
            gevent.killall(attempts, TimeoutError, block=False)
        found = [attempt.value for attempt in attempts]
        proof = next(
            (each for each in (Proof.UNTRUSTED, Proof.UNREACHED) if each in found), Proof.TRUSTED
        )
        if proof is Proof.UNREACHED and before is not None:
            return before  # the network is away: what was known of the certificates holds
        if proof is not before:
            log.log(
                logging.WARNING if proof is Proof.UNTRUSTED else logging.INFO,
                "few_roots",
                extra={"proof": proof.value, "hosts": [each[0] for each in self.hosts]},
            )
        with suppress(OSError):
            record = {**self._about(path), "proof": proof.value, "at": time.time()}
            self._replace(self._record, orjson.dumps(record))
        return proof


def shake_hands(address: Address, roots: Path, timeout_s: float) -> Proof:
    """Speak TLS to a host with those roots alone, and say nothing more. Blocks; raises nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(roots)
        with (
            gevent.Timeout(timeout_s, TimeoutError),
            socket.create_connection(address, timeout_s) as plain,
            # The handshake apart: whoever is stopped within it then closes the connection.
            context.wrap_socket(
                plain, server_hostname=address[0], do_handshake_on_connect=False
            ) as outside,
        ):
            outside.do_handshake()
            return Proof.TRUSTED
    except ssl.SSLCertVerificationError as error:
        fields = {"host": address[0], "found": one_line(error.verify_message, 200)}
        log.info("few_roots_refused", extra=fields)
        return Proof.UNTRUSTED
    except OSError:  # the network's, and that of TLS
        return Proof.UNREACHED
