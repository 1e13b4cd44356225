"""`scripts/backup.sh` and `restore.sh`, over a folder as a running service keeps it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT

TOKEN = "the-token-of-the-login"
ANSWERS = "gateway/answers-1.sqlite"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A CODEX_HOME with a login, and a database in which somebody is just writing."""
    folder = tmp_path / "codex-home"
    (folder / "gateway").mkdir(parents=True)
    (folder / "auth.json").write_text(f'{{"token": "{TOKEN}"}}')
    (folder / "installation_id").write_text("1")
    (folder / "gunicorn.pid").write_text("1")
    (folder / "state_5.sqlite").write_text("codex's own")
    with closing(sqlite3.connect(folder / ANSWERS, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE answers (text)")
        writer.executemany("INSERT INTO answers VALUES (?)", [[str(n)] for n in range(1000)])
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO answers VALUES ('not yet')")
        yield folder


def run(script: str, home: Path, file: Path, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(ROOT / "scripts" / script), str(file)],
        env={"PATH": os.environ["PATH"], "CODEX_HOME": str(home), "PYTHON": sys.executable}
        | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def answers(home: Path) -> int:
    with closing(sqlite3.connect(home / ANSWERS)) as reader:
        count: int = reader.execute("SELECT count(*) FROM answers").fetchone()[0]
        return count


def test_answers_are_copied_whole_under_a_writer_and_the_login_is_not(
    home: Path, tmp_path: Path
) -> None:
    file, restored = tmp_path / "backup.tar.gz", tmp_path / "restored"
    code, said = run("backup.sh", home, file)
    assert (code, said) == (0, f"{file}: 2 files, without the login.\n")
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(file) as archive:
        assert not any("auth.json" in name or "pid" in name for name in archive.getnames())
    code, said = run("restore.sh", restored, file)
    assert (code, "codex login" in said) == (0, True)
    assert answers(restored) == 1000
    assert all(path.stat().st_mode & 0o077 == 0 for path in [restored, *restored.rglob("*")])


def test_a_login_is_taken_along_encrypted_alone(home: Path, tmp_path: Path) -> None:
    file, restored, secret = tmp_path / "backup", tmp_path / "restored", tmp_path / "passphrase"
    assert run("backup.sh", home, file, BACKUP_LOGIN="encrypted")[0] == 1
    assert run("backup.sh", home, file, BACKUP_LOGIN="plain")[0] == 1
    assert not file.exists()
    secret.write_text("correct horse battery staple\n")
    with_it = {"BACKUP_PASSPHRASE_FILE": str(secret)}
    code, said = run("backup.sh", home, file, BACKUP_LOGIN="encrypted", **with_it)
    assert (code, "with the login, encrypted" in said) == (0, True)
    assert file.read_bytes().startswith(b"Salted__")
    assert TOKEN.encode() not in file.read_bytes()

    secret.write_text("another one\n")
    code, said = run("restore.sh", restored, file, **with_it)
    assert (code, "cannot be decrypted" in said, restored.exists()) == (1, True, False)
    secret.write_text("correct horse battery staple\n")
    assert run("restore.sh", restored, file, **with_it)[0] == 0
    assert TOKEN in (restored / "auth.json").read_text()
    assert answers(restored) == 1000


def test_what_was_deciphered_to_no_archive_is_said_to_be_undecipherable(tmp_path: Path) -> None:
    """As one wrong passphrase in 256 does: the padding looks right by chance."""
    file, restored, secret = tmp_path / "backup", tmp_path / "restored", tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    subprocess.run(
        f"openssl enc -aes-256-cbc -pbkdf2 -iter 600000 -salt -pass file:{secret} -out {file}".split(),
        input=b"neither an archive nor secret",
        check=True,
    )
    code, said = run("restore.sh", restored, file, BACKUP_PASSPHRASE_FILE=str(secret))
    assert (code, "cannot be decrypted" in said, restored.exists()) == (1, True, False)


def test_nothing_is_overwritten(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    assert run("backup.sh", home, file)[0] == 0
    assert "exists already" in run("backup.sh", home, file)[1]
    code, said = run("restore.sh", home, file)
    assert (code, "is not empty" in said) == (1, True)
    assert TOKEN in (home / "auth.json").read_text()


def test_a_damaged_file_is_said_to_be_one(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    assert run("backup.sh", home, file)[0] == 0
    file.write_bytes(file.read_bytes()[:200])
    restored = tmp_path / "restored"
    assert (run("restore.sh", restored, file)[0], restored.exists()) == (1, False)


def test_a_damaged_database_is_not_called_a_backup(home: Path, tmp_path: Path) -> None:
    (home / "gateway/answers-2.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    file = tmp_path / "backup"
    code, said = run("backup.sh", home, file)
    assert (code, "Nothing was written." in said, file.exists()) == (1, True, False)
