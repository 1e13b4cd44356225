"""The lock of a login's renewal: one holder, whoever asks, and none once that is gone."""

from __future__ import annotations

from pathlib import Path

from app.codex.renewal_lock import RenewalLock


def test_one_has_it_until_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "renewal.lock"
    one, other = RenewalLock(path), RenewalLock(path)
    assert one.try_acquire()
    assert one.try_acquire()  # it has it already
    assert (one.is_held, other.try_acquire(), other.is_held) == (True, False, False)
    one.release()
    one.release()
    assert (one.is_held, other.try_acquire()) == (False, True)
    other.release()
    assert path.stat().st_mode & 0o777 == 0o600
