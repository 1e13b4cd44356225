"""CODEX_HOME on disk: what the gateway prepares there before a child starts.

    CODEX_HOME/               0700; codex's own state (auth.json, databases) and ours
      gunicorn.pid
      gateway/
        catalog-<hash>.json   the stripped model catalog; its name is its content, so it never changes
        printed-catalog       what the binary printed of its models (`app.codex.printed_catalog`)
        upstream-models.json  what the upstream's `/models` listed last, where that is asked for
        no-roots-<hash>.pem   one certificate, for a child that only ever speaks plain HTTP
        answers-<n>.sqlite    stored answers (`app.answer_store.sqlite_file`)
        login-seen            written once a login was found: after that, there is no demo
        renewal.lock          locked while a child may be renewing the login (`app.codex.renewal_lock`)
        workspace/            the child's working directory, empty
        tmp/                  the child's TMPDIR
        turns/                folders of processes that run one turn (`app.backends.per_request.folders`)

All functions do file I/O and raise `OSError` if the disk refuses, `HomeRefused` if a person has to decide.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import orjson

from app.codex import auth_file, catalog
from app.codex.auth_file import StoredLogin
from app.codex.printed_catalog import PrintedCatalog
from app.process.child import StartRefused

_LOG_DATABASE = "logs_2.sqlite"
_KEEP_CATALOGS = 4
_KEEP_NO_LOG = """
create trigger if not exists gateway_keeps_no_log
before insert on logs begin select raise(ignore); end
"""


FileMark: TypeAlias = tuple[int, int, int]
"""What tells one state of the login's file from another: inode, size in bytes, time of change in ns."""


class HomeRefused(StartRefused):
    """CODEX_HOME holds something that we must not touch and cannot ignore."""

    reason = "home_refused"


class LoginReadOnly(StartRefused):
    """The login is one that codex renews, and its file cannot be written: a renewal would spend it."""

    reason = "login_read_only"


class HomeUnwritable(StartRefused):
    """Nothing can be written to CODEX_HOME."""

    reason = "home_unwritable"


class DiskFull(HomeUnwritable):
    """There is no room left where CODEX_HOME is."""

    reason = "disk_full"


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_PROOF = b"x" * 4096
_MOST_LOGIN_BYTES = 1 << 20
_ENDLESS = frozenset({errno.ESPIPE, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Home:
    """The places below CODEX_HOME."""

    root: Path

    @property
    def private(self) -> Path:
        """What the gateway itself writes."""
        return self.root / "gateway"

    @property
    def workspace(self) -> Path:
        """The child's working directory."""
        return self.private / "workspace"

    @property
    def tmp(self) -> Path:
        """The child's directory for temporary files."""
        return self.private / "tmp"

    @property
    def turns(self) -> Path:
        """Folders of processes that run one turn each."""
        return self.private / "turns"

    @property
    def printed_catalog(self) -> PrintedCatalog:
        """What the binary printed of its models."""
        return PrintedCatalog(self.private / "printed-catalog")

    @property
    def pid_file(self) -> Path:
        """The gunicorn master's process id."""
        return self.root / "gunicorn.pid"

    @property
    def auth_file(self) -> Path:
        """The login that codex keeps (`auth.json`)."""
        return self.root / "auth.json"

    @property
    def login_marker(self) -> Path:
        """Present once a login was ever seen here."""
        return self.private / "login-seen"

    @property
    def renewal_lock(self) -> Path:
        """Locked while a child may be renewing the login."""
        return self.private / "renewal.lock"

    @property
    def login_file_mark(self) -> FileMark | None:
        """What the login's file looks like now; None where there is none."""
        try:
            found = self.auth_file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def read_login(self) -> StoredLogin:
        """Return the login in the file as it is now, good or not. Reads a small file."""
        try:
            return auth_file.parse(self._login_content())
        except FileNotFoundError:
            return StoredLogin(problem="There is none.")
        except OSError as error:
            return StoredLogin(problem=f"It cannot be read: {error.strerror}.")

    def _login_content(self) -> bytes:
        """Return the file's content. Raises `OSError`, also for what has no end or would be waited for."""
        descriptor = os.open(self.auth_file, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                raise OSError(errno.ESPIPE, "a pipe, not a file")
            content = os.read(descriptor, _MOST_LOGIN_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(content) > _MOST_LOGIN_BYTES:
            raise OSError(errno.EFBIG, "far too large")
        return content

    def check_login_ends(self) -> None:
        """Raise `HomeRefused` where codex would read the login for ever, in its start."""
        try:
            self._login_content()
        except OSError as error:
            if error.errno in _ENDLESS:
                raise HomeRefused(
                    f"auth.json in CODEX_HOME is {error.strerror}: codex would not come to its end. Move it away."
                ) from None

    @property
    def can_keep_login(self) -> bool:
        """True unless codex could not write a renewed login back to its file (which it does in place)."""
        try:
            # Opened and not written to: modes say nothing about a mount, and nothing to root.
            os.close(os.open(self.auth_file, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def prepare(self) -> None:
        """Create the folders, closed to others; refuse a `config.toml`, which would give the child other rules.

        Raises `HomeRefused`, `HomeUnwritable`, `DiskFull`: said before codex says it in its own way, or not at all.
        """
        try:
            self._make_folders()
        except OSError as error:
            kind = DiskFull if error.errno in _NO_ROOM else HomeUnwritable
            raise kind(f"CODEX_HOME cannot be written to: {error.strerror}.") from error
        if (self.root / "config.toml").exists():
            raise HomeRefused(
                "CODEX_HOME contains a config.toml. The gateway configures its child completely and must not run "
                "with settings it does not know: move that file away, or point CODEX_HOME to another folder."
            )

    def _make_folders(self) -> None:
        for folder in (self.root, self.private, self.workspace, self.tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        with tempfile.TemporaryFile(
            dir=self.private
        ) as file:  # on a full disk a folder may still be made
            file.write(_PROOF)

    @property
    def is_login_known(self) -> bool:
        """True if there is a login's file, good or not, or ever was: a lost login must not turn into the demo."""
        # A link that leads nowhere is a login, too: a volume that is not there yet.
        return os.path.lexists(self.auth_file) or self.login_marker.exists()

    def remember_login(self) -> None:
        """Write the marker if there is a login's file now."""
        if os.path.lexists(self.auth_file):
            self.private.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.login_marker.touch(mode=0o600)

    def write_catalog(self, printed: bytes, offer: catalog.Offer = catalog.OWN_MODELS) -> Path:
        """Store the stripped form of the catalog that `codex debug models` printed; return its path.

        It holds the models of the offer.
        """
        content = orjson.dumps(catalog.offering(catalog.strip(orjson.loads(printed)), offer))
        path = self._write_once("catalog", ".json", content)
        self._forget_old_catalogs(path)
        return path

    def write_certificates(self, bundle: Path) -> Path:
        """Store the first certificate of `bundle` alone and return its path.

        codex parses its whole bundle again for every turn (9 ms of CPU); a child that never speaks TLS needs none,
        but codex refuses an empty file.
        """
        end = b"-----END CERTIFICATE-----\n"
        pem = bundle.read_bytes()
        start = pem.index(b"-----BEGIN CERTIFICATE-----")
        return self._write_once("no-roots", ".pem", pem[start : pem.index(end, start) + len(end)])

    def silence_log_database(self) -> None:
        """Keep codex's trace log from growing (27 KB a request, and it can quote prompts): refuse its inserts.

        Does nothing before the database exists, that is before the first child ran. Raises `sqlite3.Error`.
        """
        path = self.root / _LOG_DATABASE
        if not path.is_file():
            return
        with closing(sqlite3.connect(path, timeout=2)) as database:
            database.execute(_KEEP_NO_LOG)
            database.commit()

    def _write_once(self, stem: str, suffix: str, content: bytes) -> Path:
        """Write under a name made from the content, atomically; a file that has it already is left alone."""
        path = self.private / f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
        if not path.is_file() or path.read_bytes() != content:
            descriptor, temporary = tempfile.mkstemp(dir=self.private, suffix=".part")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        return path

    def _forget_old_catalogs(self, current: Path) -> None:
        found = sorted(self.private.glob("catalog-*.json"), key=lambda path: path.stat().st_mtime)
        for path in found[:-_KEEP_CATALOGS]:
            if path != current:
                path.unlink(missing_ok=True)
