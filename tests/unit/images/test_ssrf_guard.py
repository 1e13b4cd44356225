from __future__ import annotations

import ssl
from ipaddress import ip_address
from unittest.mock import Mock

import pytest
from requests import Request

from app.images.pinned_adapter import PinnedAdapter
from app.images.ssrf_guard import (
    Location,
    NotFetched,
    Reason,
    parse_location,
    public_only,
    resolve,
)

PUBLIC = ["93.184.215.14", "8.8.8.8", "1.1.1.1", "2606:4700::1", "2a00:1450:4001::200e"]

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
]


MAPPED = str(ip_address("::ffff:127.0.0.1"))
"""Written in two ways, from Python 3.13 on with the points."""


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::808:808"])
def test_public_addresses_are_allowed_on_the_web_ports(address: str) -> None:
    assert public_only(ip_address(address), 80)
    assert public_only(ip_address(address), 443)


@pytest.mark.parametrize("address", PRIVATE)
def test_every_other_address_is_refused(address: str) -> None:
    assert not public_only(ip_address(address), 80)
    assert not public_only(ip_address(address), 443)


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 8080, 8443, 11435, 65535])
def test_other_ports_are_refused(port: int) -> None:
    assert not public_only(ip_address("8.8.8.8"), port)


@pytest.mark.parametrize(
    ("url", "host", "port", "again"),
    [
        ("http://a.test", "a.test", 80, "http://a.test/"),
        ("https://a.test/x.png?y=1", "a.test", 443, "https://a.test/x.png?y=1"),
        ("HTTPS://A.Test:443/X", "a.test", 443, "https://a.test/X"),
        ("http://a.test:443/x", "a.test", 443, "http://a.test:443/x"),
        ("http://a.test:/x", "a.test", 80, "http://a.test/x"),
        ("http://a.test?y", "a.test", 80, "http://a.test/?y"),
        ("http://a.test/x#http://127.0.0.1/", "a.test", 80, "http://a.test/x"),
        ("http://a.test#@127.0.0.1/", "a.test", 80, "http://a.test/"),
        ("http://a.test/@127.0.0.1", "a.test", 80, "http://a.test/@127.0.0.1"),
        ("http://a.test./x", "a.test", 80, "http://a.test/x"),
        ("http://my_bucket.a.test/x", "my_bucket.a.test", 80, "http://my_bucket.a.test/x"),
        ("http://bücher.test/x", "xn--bcher-kva.test", 80, "http://xn--bcher-kva.test/x"),
        ("http://ＥＸＡＭＰＬＥ。test/x", "example.test", 80, "http://example.test/x"),  # noqa: RUF001
        ("http://１２７.０.０.１/x", "127.0.0.1", 80, "http://127.0.0.1/x"),  # noqa: RUF001
        ("http://127.0.0.1./x", "127.0.0.1", 80, "http://127.0.0.1/x"),
        ("http://[::1]:8080/x", "::1", 8080, "http://[::1]:8080/x"),
        ("http://[0:0:0:0:0:0:0:1]/x", "::1", 80, "http://[::1]/x"),
        ("http://[::FFFF:127.0.0.1]/x", MAPPED, 80, f"http://[{MAPPED}]/x"),
        ("http://0x7f.a.test/", "0x7f.a.test", 80, "http://0x7f.a.test/"),
        ("http://a.test:65535/", "a.test", 65535, "http://a.test:65535/"),
    ],
)
def test_a_url_has_one_meaning(url: str, host: str, port: int, again: str) -> None:
    location = parse_location(url)
    assert (location.host, location.port, location.url) == (host, port, again)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "http:///x",
        "http:a.test",
        "//a.test/x",
        "file:///etc/passwd",
        "ftp://a.test/x",
        "gopher://a.test/x",
        "javascript:alert(1)",
        " http://a.test/",
        "httpſ://a.test/",  # noqa: RUF001
        "http://user@a.test/",
        "http://user:secret@a.test/",
        "http://@a.test/",
        "http://8.8.8.8@127.0.0.1/",
        "http://a.test:80@127.0.0.1/",
        "http://a.test\\@127.0.0.1/",
        "http://a.test\\.b.test/",
        "http://a.test/\r\nHost: b.test",
        "http://a\n.test/",
        "http://a\t.test/",
        "http://a.test\x00.b.test/",
        "http://a b.test/",
        "http://a%2etest/",
        "http://%31%32%37.0.0.1/",
        "http://a..test/",
        "http://.a.test/",
        "http://a.test../",
        "http://./",
        "http://-a.test/",
        "http://a-.test/",
        f"http://{'a' * 64}.test/",
        f"http://{'a.' * 127}test/",
        "http://*.a.test/",
        "http://a.test:x/",
        "http://a.test:-1/",
        "http://a.test:８０/",  # noqa: RUF001
        "http://a.test:1e2/",
        "http://a.test:80:80/",
        "http://a.test:123456/",
        "http://[::1/",
        "http://::1/",
        "http://[a.test]/",
        "http://[127.0.0.1]/",
        "http://x[::1]/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
        "http://[::1]@a.test/",
        "http://[v1.x]/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0x7f000001/",
        "http://0X7F000001/",
        "http://0x/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://127.0.0.0x1/",
        "http://127.0.0.01/",
        "http://127.0.0.1.2/",
        "http://127.0.0.256/",
        "http://a.test.1/",
        "http://xn--a.1/",
        "http://ⓛocalhost.\u200b.test/",
        "http://\u202ea.test/",
        "http://a.test/" + "x" * 9000,
    ],
)
def test_a_url_that_could_mean_two_things_is_refused(url: str) -> None:
    with pytest.raises(NotFetched) as raised:
        parse_location(url)
    assert raised.value.reason is Reason.MALFORMED


def test_every_address_of_a_name_is_checked() -> None:
    location = parse_location("http://a.test/")
    assert [*map(str, resolve(location, public_only, lambda *_: ["8.8.8.8", "1.1.1.1"]))] == [
        "8.8.8.8",
        "1.1.1.1",
    ]
    with pytest.raises(NotFetched) as raised:
        resolve(location, public_only, lambda *_: ["8.8.8.8", "10.0.0.1"])
    assert raised.value.reason is Reason.ADDRESS


def test_the_rule_is_asked_for_the_port_too() -> None:
    with pytest.raises(NotFetched) as raised:
        resolve(parse_location("http://a.test:22/"), public_only, lambda *_: ["8.8.8.8"])
    assert raised.value.reason is Reason.ADDRESS


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/"])
def test_an_address_is_not_looked_up_but_checked_all_the_same(url: str) -> None:
    resolver = Mock()
    with pytest.raises(NotFetched) as raised:
        resolve(parse_location(url), public_only, resolver)
    assert raised.value.reason is Reason.ADDRESS
    resolver.assert_not_called()


@pytest.mark.parametrize("answer", [[], ["nonsense"], [""]])
def test_a_name_without_a_usable_address_is_not_resolved(answer: list[str]) -> None:
    with pytest.raises(NotFetched) as raised:
        resolve(parse_location("http://a.test/"), public_only, lambda *_: answer)
    assert raised.value.reason is Reason.NAME


@pytest.mark.parametrize("failure", [OSError("no such name"), UnicodeError("label too long")])
def test_a_resolver_that_fails_is_no_defect(failure: Exception) -> None:
    with pytest.raises(NotFetched) as raised:
        resolve(parse_location("http://a.test/"), public_only, Mock(side_effect=failure))
    assert raised.value.reason is Reason.NAME


def pool_of(url: str, address: str, tls: ssl.SSLContext) -> object:
    adapter = PinnedAdapter(parse_location(url), ip_address(address), tls)
    request = Request("GET", url).prepare()
    return adapter.get_connection_with_tls_context(request, verify=True)


def test_the_connection_goes_to_the_address_and_tls_to_the_name() -> None:
    tls = ssl.create_default_context()
    pool = pool_of("https://a.test/x", "8.8.8.8", tls)
    assert (pool.host, pool.port) == ("8.8.8.8", 443)  # type: ignore[attr-defined]
    connection = pool._new_conn()  # type: ignore[attr-defined]
    assert connection.server_hostname == "a.test"
    assert connection.ssl_context is tls
    assert connection.assert_hostname is None, "the context checks the name"
    assert tls.check_hostname
    assert tls.verify_mode is ssl.CERT_REQUIRED


def test_the_connection_goes_to_an_ipv6_address_too() -> None:
    pool = pool_of("http://a.test:80/x", "2606:4700::1", ssl.create_default_context())
    assert pool._new_conn()._dns_host == "2606:4700::1"  # type: ignore[attr-defined]


def test_the_host_header_names_what_the_url_named() -> None:
    assert Location("https", "a.test", 443, "/").authority == "a.test"
    assert Location("https", "a.test", 80, "/").authority == "a.test:80"
    assert Location("http", "::1", 8080, "/").authority == "[::1]:8080"
