"""Roots of OpenAI's hosts: the few certificates, of a whole store, that can be at the end of their chains. Pure.

codex parses its whole store again for every turn, 0.06 to 0.13 ms of CPU a certificate. The list holds the present
roots of those authorities from which the hosts' front (Cloudflare, Azure) takes certificates. Whether one of them is
the right one is not known from here: that is for a handshake to show (`app.codex.few_roots`).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from app.codex.config import Upstream, UpstreamKind

Address = tuple[str, int]
"""Name of a host, and port."""

OPENAI_HOSTS: tuple[Address, ...] = (
    ("api.openai.com", 443),
    ("chatgpt.com", 443),
    ("auth.openai.com", 443),
)
"""The API, ChatGPT, and the accounts where a login is renewed."""

# fmt: off
PLAUSIBLE: Mapping[str, str] = MappingProxyType(
    {
        "d947432abde7b7fa90fc2e6b59101b1280e0e1c7e4e40fa3c6887fff57a7f4cf": "GTS Root R1",
        "34d8a73ee208d9bcdb0d956520934b4e40e69482596e8b6f73c8426b010a6f48": "GTS Root R3",
        "349dfa4058c5e263123b398ae795573c4e1313c83fe68f93556cd5e8031b3c7d": "GTS Root R4",
        "96bcec06264976f37460779acf28c5a7cfe8a3c0aae11a8ffcee05c0bddf08c6": "ISRG Root X1",
        "69729b8e15a86efc177a57afb7171dfc64add28c2fca8cf1507e34453ccb1470": "ISRG Root X2",
        "8faf7d2e2cb4709bb8e0b33666bf75a5dd45b5de480f8ea8d4bfe6bebc17f2ed": "SSL.com TLS RSA Root CA 2022",
        "c32ffd9f46f936d16c3673990959434b9ad60aafbb9e7cf33654f144cc1ba143": "SSL.com TLS ECC Root CA 2022",
        "85666a562ee0be5ce925c1d8890a6f76a87ec16d4d7d5f29ea7419cf20123b69": "SSL.com Root Certification Authority RSA",
        "3417bb06cc6007da1b961c920b8ab4ce3fad820e4aa30b9acbc4a74ebdcebc65": "SSL.com Root Certification Authority ECC",
        "e793c9b02fd8aa13e21c31228accb08119643b749c898964b1746d46c3d4cbd2": "USERTrust RSA Certification Authority",
        "4ff460d54b9c86dabfbcfc5712e0400d2bed3fbc4d4fbdaa86e06adcd2a9ad7a": "USERTrust ECC Certification Authority",
        "7bb647a62aeeac88bf257aa522d01ffea395e0ab45c73f93f65654ec38f25a06":
            "Sectigo Public Server Authentication Root R46",
        "c90f26f0fb1b4018b22227519b5ca2b53e2ca5b3be5cf18efe1bef47380c5383":
            "Sectigo Public Server Authentication Root E46",
        "cb3ccbb76031e5e0138f8dd39a23f9de47ffc35e43c1144cea27d46a5ab1cb5f": "DigiCert Global Root G2",
        "31ad6648f8104138c738f39ea4320133393e3a18cc02296ef97c2ac9ef6731d0": "DigiCert Global Root G3",
    }
)
# fmt: on
"""SHA-256 of each certificate, and its name."""

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s([^-]*)-----END CERTIFICATE-----")


def choose(store: str, wanted: Collection[str] = PLAUSIBLE) -> str:
    """Return those certificates of a store (PEM) that are wanted, as PEM; empty where it has none of them."""
    found = {digest: block for digest, block in _certificates(store) if digest in wanted}
    return "".join(f"{found[digest]}\n" for digest in sorted(found))


def _certificates(store: str) -> Iterator[tuple[str, str]]:
    """Yield the SHA-256 and the block of each certificate that can be read."""
    for block in _BLOCK.finditer(store):
        try:
            yield hashlib.sha256(b64decode(block[1])).hexdigest(), block[0]
        except ValueError:
            continue


def hosts_of(upstream: Upstream) -> tuple[Address, ...]:
    """Return the hosts of OpenAI's that a child with this upstream speaks TLS to; none where there may be others."""
    if upstream.kind is UpstreamKind.OPENAI:
        return OPENAI_HOSTS
    parts = urlsplit(upstream.base_url)
    address = (parts.hostname or "", parts.port or 443)
    return (address,) if parts.scheme == "https" and address in OPENAI_HOSTS else ()


_THEIRS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CODEX_CA_CERTIFICATE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def is_operators_choice(env: Mapping[str, str]) -> bool:
    """Return whether the child's environment says what to trust, or has a proxy, which may show its own roots."""
    return any(env.get(name) or env.get(name.lower()) for name in (*_THEIRS, *_PROXIES))
