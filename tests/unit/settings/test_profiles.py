"""What production refuses, what staging warns of, and what deserves a word."""

from __future__ import annotations

import secrets

import pytest

from app.settings import SettingsError, advice, is_guessable, load_settings

KEY = "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"
OTHER = "u3Hy6Pf5Gk0aEo8Zi2Mx7NbD"
THIRD = "c9Wt4Sj1Lr6QvA3Ue0Yd5KhP"

RULE = "needs 24 characters or more where PROXY_ENV is prod."
GUESSED = "can be guessed; make a random one (openssl rand -hex 32)."
METRICS = "PROXY_METRICS_TOKEN must differ from every other key where PROXY_ENV is prod."
ADMIN = "PROXY_ADMIN_KEY must differ from PROXY_API_KEY where PROXY_ENV is prod."
TRUST = "PROXY_TRUSTED_PROXIES must name the proxies where others can connect, too."


@pytest.mark.parametrize(
    "key",
    [
        "k" * 32,
        "0" * 24,
        "abcabcabcabcabcabcabcabcabc",
        "0123456789abcdef0123456789abcdef",
        "sk-local-0123456789sk-local-0123456789",
        "changeme-changeme-changeme!",
        "please-change-me-before-production",
        "CHANGETHIS0987654321qwertz",
        "sk-e2e-test-key-0123456789",
        "sk-cli-test-client-key-example",
        "replace-with-a-real-key-9271",
        "your-api-key-goes-here-4711",
        "my-secret-password-for-codex",
        "the-default-key-of-this-host",
        "sk-local-…-and-so-on-and-on",
        "sk-local-...-and-so-on-and-on",
        "sk-XXXXXXXXXXXXXXXXXXXXXXXX",
    ],
)
def test_a_key_that_can_be_guessed(key: str) -> None:
    assert is_guessable(key)


def test_random_keys_are_not_taken_for_guessable_ones() -> None:
    for _ in range(1000):
        for key in (
            secrets.token_hex(16),
            secrets.token_urlsafe(24),
            f"sk-local-{secrets.token_urlsafe(24)}",
        ):
            assert not is_guessable(key), key


PROD: list[tuple[dict[str, str], list[str]]] = [
    ({}, []),
    ({"PROXY_ADMIN_KEY": OTHER, "PROXY_METRICS_TOKEN": THIRD}, []),
    ({"PROXY_API_KEY": KEY[1:]}, [f"PROXY_API_KEY {RULE}"]),
    ({"PROXY_API_KEY": "k" * 24}, [f"PROXY_API_KEY {GUESSED}"]),
    ({"PROXY_ADMIN_KEY": "short"}, [f"PROXY_ADMIN_KEY {RULE}"]),
    ({"PROXY_ADMIN_KEY": "changeme" * 4}, [f"PROXY_ADMIN_KEY {GUESSED}"]),
    ({"PROXY_METRICS_TOKEN": "short"}, [f"PROXY_METRICS_TOKEN {RULE}"]),
    ({"PROXY_API_KEYS": f"ann={OTHER}"}, []),
    (
        {"PROXY_API_KEYS": f"ann=short,bob={OTHER},eve={'e' * 30}"},
        [
            f"PROXY_API_KEYS: the key of ann {RULE}",
            f"PROXY_API_KEYS: the key of eve {GUESSED}",
        ],
    ),
    ({"PROXY_ADMIN_KEY": KEY}, [ADMIN]),
    ({"PROXY_METRICS_TOKEN": KEY}, [METRICS]),
    ({"PROXY_ADMIN_KEY": OTHER, "PROXY_METRICS_TOKEN": OTHER}, [METRICS]),
    ({"PROXY_API_KEYS": f"ann={OTHER}", "PROXY_METRICS_TOKEN": OTHER}, [METRICS]),
    ({"PROXY_HOST": "0.0.0.0"}, []),
    ({"PROXY_TRUSTED_PROXIES": "*"}, []),
    ({"PROXY_HOST": "localhost", "PROXY_TRUSTED_PROXIES": "*"}, []),
    ({"PROXY_HOST": "::1", "PROXY_TRUSTED_PROXIES": "*"}, []),
    ({"PROXY_HOST": "0.0.0.0", "PROXY_TRUSTED_PROXIES": "10.0.0.1"}, []),
    ({"PROXY_HOST": "0.0.0.0", "PROXY_TRUSTED_PROXIES": "*"}, [TRUST]),
    ({"PROXY_HOST": "::", "PROXY_TRUSTED_PROXIES": "10.0.0.1, *"}, [TRUST]),
    (
        {
            "PROXY_API_KEY": "short",
            "PROXY_ADMIN_KEY": "changeme" * 4,
            "PROXY_HOST": "10.0.0.5",
            "PROXY_TRUSTED_PROXIES": "*",
            "PORT": "x",
        },
        [
            "PORT must be a whole number from 0 to 65535.",
            f"PROXY_API_KEY {RULE}",
            f"PROXY_ADMIN_KEY {GUESSED}",
            TRUST,
        ],
    ),
]


@pytest.mark.parametrize(("given", "problems"), PROD)
def test_production_names_all_that_it_refuses_at_once(
    given: dict[str, str], problems: list[str]
) -> None:
    variables = {"PROXY_ENV": "prod", "PROXY_API_KEY": KEY, **given}
    if not problems:
        assert load_settings(variables).env == "prod"
        return
    with pytest.raises(SettingsError) as raised:
        load_settings(variables)
    assert raised.value.problems == problems


@pytest.mark.parametrize(("given", "problems"), PROD[:-1])
@pytest.mark.parametrize("env", ["dev", "staging"])
def test_staging_warns_of_what_production_refuses_and_dev_says_nothing(
    given: dict[str, str], problems: list[str], env: str
) -> None:
    settings = load_settings({"PROXY_ENV": env, "PROXY_API_KEY": KEY, **given})
    assert [sentence for _, sentence in advice(settings)] == (problems if env == "staging" else [])


QUIET = {
    "PROXY_ENV": "prod",
    "PROXY_API_KEY": KEY,
    "PROXY_ADMIN_KEY": OTHER,
    "PROXY_METRICS_TOKEN": THIRD,
    "PROXY_CORS_ALLOWED_ORIGINS": "https://chat.example",
}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, []),
        ({"PROXY_ADMIN_KEY": ""}, ["PROXY_ADMIN_KEY"]),
        ({"PROXY_METRICS_TOKEN": ""}, ["PROXY_METRICS_TOKEN"]),
        ({"PROXY_CORS_ALLOWED_ORIGINS": ""}, ["PROXY_CORS_ALLOWED_ORIGINS"]),
        ({"PROXY_CORS_ALLOWED_ORIGINS": "off"}, []),
        ({"LOG_LEVEL": "debug"}, ["LOG_LEVEL"]),
        ({"CODEX_UPSTREAM_URL": "http://models.example/v1"}, ["CODEX_UPSTREAM_URL"]),
        ({"CODEX_UPSTREAM_URL": "http://127.0.0.1:8000/v1"}, []),
        ({"CODEX_UPSTREAM_URL": "http://[::1]:8000/v1"}, []),
        ({"CODEX_UPSTREAM_URL": "https://models.example/v1"}, []),
    ],
)
def test_what_production_allows_with_a_word(given: dict[str, str], named: list[str]) -> None:
    found = advice(load_settings(QUIET | given))
    assert [name for name, _ in found] == named
    for name, sentence in found:
        assert sentence.startswith(f"{name} ")
        assert sentence.endswith(".")


def test_no_value_is_in_a_sentence() -> None:
    canary = "canary-canary"
    variables = {"PROXY_API_KEY": canary, "PROXY_API_KEYS": "ann=canary-ann"}
    with pytest.raises(SettingsError) as raised:
        load_settings(variables | {"PROXY_ENV": "prod", "PROXY_METRICS_TOKEN": canary})
    assert "canary" not in str(raised.value)
    staged = advice(load_settings(variables | {"PROXY_ENV": "staging"}))
    assert staged
    assert "canary" not in str(staged)
