"""What is known of the service's login: from the file, from codex, from the upstream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.codex.config import UpstreamKind
from app.codex.home import Home
from app.codex.login import Login
from app.errors import UpstreamAuth
from tests.fakes.accounts import Accounts

KEY = '{"OPENAI_API_KEY": "sk-x"}'
RECENT = "2026-11-27T00:00:00Z"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def chatgpt(home: Home, good_for_s: int) -> None:
    Accounts.write_login(None, home.auth_file, RECENT, good_for_s)  # type: ignore[arg-type]


def sentence(login: Login) -> str:
    with pytest.raises(UpstreamAuth) as caught:
        login.check()
    return caught.value.message


def test_none_a_good_one_and_a_useless_one(home: Home) -> None:
    login = Login(home, UpstreamKind.OPENAI)
    assert (login.mark, login.is_missing) == (None, True)
    assert "not logged in" in sentence(login)
    home.auth_file.write_text(KEY)
    login.check()
    marks = {login.mark}
    home.auth_file.write_text(f" {KEY}")  # the same one, written anew
    assert marks == {login.mark} != {None}
    home.auth_file.write_text("{}")
    assert (login.mark, login.is_missing, login.is_lacking) == (None, True, True)
    assert "cannot be used" in sentence(login)


def test_a_torn_file_is_first_taken_for_one_that_is_being_written(home: Home) -> None:
    home.auth_file.write_text(KEY)
    login = Login(home, UpstreamKind.OPENAI)
    mark = login.mark
    home.auth_file.write_text("")
    assert login.mark == mark is not None
    login.check()
    home.auth_file.write_text('{"OPENAI_API_KEY": "sk-other"}')
    assert login.mark not in (None, mark)


def test_a_file_that_was_torn_from_the_beginning_is_believed(home: Home) -> None:
    home.auth_file.write_text("")
    assert Login(home, UpstreamKind.OPENAI).mark is None


@pytest.mark.parametrize("kind", [UpstreamKind.CONFIGURED, UpstreamKind.DEMO])
def test_where_none_is_needed_there_is_none(home: Home, kind: UpstreamKind) -> None:
    chatgpt(home, 10)
    login = Login(home, kind)
    login.check()
    facts = (login.mark, login.is_missing, login.is_due(), login.is_read_only, login.is_lacking)
    assert facts == (None, False, False, False, False)


def test_what_codex_does_not_take_is_none_until_it_changes(home: Home) -> None:
    home.auth_file.write_text(KEY)
    login = Login(home, UpstreamKind.OPENAI)
    mark = login.mark
    assert mark is not None
    login.note_not_taken(mark)
    assert login.is_missing
    home.auth_file.write_text(json.dumps({"OPENAI_API_KEY": "sk-another"}))
    assert not login.is_missing


def test_a_failed_renewal_counts_once_it_is_due(home: Home) -> None:
    """Unless codex has given it up: then it leaves a token that is still good alone."""
    login = Login(home, UpstreamKind.OPENAI)
    chatgpt(home, 100)
    login.check()
    login.note_not_renewed()
    assert "accounts server" in sentence(login)
    login.note_not_renewed(is_spent=True)
    login.check()
    chatgpt(home, 600)
    login.note_not_renewed()
    login.check()
    chatgpt(home, -10)
    login.check()  # nobody has tried to renew this one
    login.note_not_renewed()
    assert "accounts server" in sentence(login)
    assert login.is_lacking
    chatgpt(home, 3600)
    login.check()
    assert not login.is_lacking


def test_who_would_try_anew_at_each_start_ends_with_a_login_that_is_spent(home: Home) -> None:
    login = Login(home, UpstreamKind.OPENAI, renews_anew=True)
    chatgpt(home, 600)
    login.note_not_renewed(is_spent=True)
    login.check()  # no start renews it yet
    assert (login.is_spent, login.is_at_its_end) == (True, False)
    chatgpt(home, 100)
    assert not login.is_spent  # it is another one
    login.note_not_renewed()
    assert (login.is_at_its_end, login.is_lacking) == (False, True)
    login.note_not_renewed(is_spent=True)
    assert (login.is_at_its_end, login.is_lacking) == (True, True)
    assert "codex login" in sentence(login)
    chatgpt(home, 3600)
    login.check()
    assert not login.is_at_its_end
