"""Which certificates of a store are chosen, for which upstream, and when the operator has chosen."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import certifi
import pytest

from app.codex.config import Upstream, UpstreamKind
from app.codex.roots import OPENAI_HOSTS, PLAUSIBLE, choose, hosts_of, is_operators_choice

STORE = Path(certifi.where()).read_text(encoding="utf-8")


def digests(pem: str) -> list[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    return [hashlib.sha256(der).hexdigest() for der in context.get_ca_certs(binary_form=True)]


def test_every_root_of_the_list_is_one_that_certifi_has() -> None:
    chosen = choose(STORE)
    assert sorted(digests(chosen)) == sorted(PLAUSIBLE)
    assert len(chosen) < len(STORE) / 5


def test_names_are_those_of_the_certificates() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=choose(STORE))
    subjects = str([root["subject"] for root in context.get_ca_certs()])
    assert all(f"('commonName', '{name}')" in subjects for name in PLAUSIBLE.values())


def test_nothing_is_added_to_what_the_store_has() -> None:
    one, *_ = PLAUSIBLE
    only = choose(STORE, [one])
    assert digests(choose(only)) == [one]


def test_the_order_of_the_store_and_what_stands_between_do_not_matter() -> None:
    end = "-----END CERTIFICATE-----\n"
    blocks = [f"{block}{end}" for block in STORE.split(end) if block.strip()]
    assert choose("".join(reversed(blocks)) + STORE) == choose(STORE)


@pytest.mark.parametrize(
    "store",
    [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\N{SNOWMAN}\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_a_store_without_any_gives_none(store: str) -> None:
    assert choose(store) == ""
    assert choose(store + STORE) == choose(STORE)


@pytest.mark.parametrize(
    ("upstream", "hosts"),
    [
        (Upstream(UpstreamKind.OPENAI), OPENAI_HOSTS),
        (
            Upstream(UpstreamKind.CONFIGURED, "https://api.openai.com/v1"),
            (("api.openai.com", 443),),
        ),
        (
            Upstream(UpstreamKind.CONFIGURED, "https://chatgpt.com:443/backend"),
            (("chatgpt.com", 443),),
        ),
        (Upstream(UpstreamKind.CONFIGURED, "http://api.openai.com/v1"), ()),
        (Upstream(UpstreamKind.CONFIGURED, "https://api.openai.com:8443/v1"), ()),
        (Upstream(UpstreamKind.CONFIGURED, "https://api.openai.com.example/v1"), ()),
        (Upstream(UpstreamKind.CONFIGURED, "https://llm.example.com/v1"), ()),
        (Upstream(UpstreamKind.DEMO, "http://127.0.0.1:8080/v1"), ()),
    ],
)
def test_only_openai_s_hosts_are_known(
    upstream: Upstream, hosts: tuple[tuple[str, int], ...]
) -> None:
    assert hosts_of(upstream) == hosts


@pytest.mark.parametrize(
    ("env", "is_theirs"),
    [
        ({}, False),
        ({"PATH": "/bin", "NO_PROXY": "*", "LANG": "C"}, False),
        ({"SSL_CERT_FILE": "", "HTTPS_PROXY": ""}, False),
        ({"SSL_CERT_FILE": "/etc/roots.pem"}, True),
        ({"SSL_CERT_DIR": "/etc/roots"}, True),
        ({"CODEX_CA_CERTIFICATE": "/etc/ca.pem"}, True),
        ({"HTTPS_PROXY": "http://proxy"}, True),
        ({"http_proxy": "http://proxy"}, True),
        ({"ALL_PROXY": "socks5://proxy"}, True),
    ],
)
def test_what_the_operator_says_wins(env: dict[str, str], *, is_theirs: bool) -> None:
    assert is_operators_choice(env) is is_theirs
