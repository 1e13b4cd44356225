import re
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.data_urls import DataUrl, canonical_base64, parse_data_url
from app.api.file_text import framed, parse_file, quoted_name, text_of


def url(raw: bytes, kind: str = "text/plain", parameters: str = "") -> str:
    return f"data:{kind}{parameters};base64,{b64encode(raw).decode()}"


def text_in(data: str) -> str | None:
    file = parse_file(data)
    assert file is not None
    return text_of(file)


TEXT_TYPES = [
    *("text/plain", "text/markdown", "text/csv", "text/html", "text/x-python", "TEXT/PLAIN"),
    *("application/json", "application/xml", "application/yaml", "application/x-yaml"),
    *("application/javascript", "application/toml", "application/sql", "application/x-sh"),
    *("application/vnd.api+json", "image/svg+xml", "application/x-ndjson", "application/graphql"),
    *("", "application/octet-stream", "nonsense"),
]
OTHER_TYPES = [
    *("application/pdf", "application/zip", "application/msword", "audio/wav", "image/png"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.ms-excel",
]


@pytest.mark.parametrize("kind", TEXT_TYPES)
def test_a_file_of_text_has_its_text(kind: str) -> None:
    assert text_in(url("Grüße ✓\n".encode(), kind)) == "Grüße ✓\n"


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_a_file_of_another_type_has_none(kind: str) -> None:
    assert text_in(url(b"plain words", kind)) is None


@pytest.mark.parametrize("kind", ["", "application/octet-stream"])
@pytest.mark.parametrize(
    "raw", [b"a\0b", b"%PDF-1.7 x", b"PK\x03\x04", b"\xff\xd8\xff", b"\x1f\x8b"]
)
def test_what_is_declared_as_nothing_and_reads_as_no_text_is_none(kind: str, raw: bytes) -> None:
    assert text_in(url(raw, kind)) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (url(b"\xef\xbb\xbfa"), "a"),
        (url(b"\xe4", parameters=";charset=ISO-8859-1"), "ä"),
        (url(b"\xe4", parameters=';charset="windows-1252"'), "ä"),
        (url(b"a", parameters=";charset=rot13"), "a"),
        (url(b"\xe4"), None),
        ("data:text/plain,a%20b%C3%A4", "a bä"),
        ("data:text/plain,100%25 of a\\x41%5cn", "100% of a\\x41\\n"),
        ("data:text/plain,100% sure: %e2%9C%93 ✓", "100% sure: ✓ ✓"),
        ("data:,hi", "hi"),
        (url(b""), None),
        (b64encode(b"plain").decode(), "plain"),
        (b64encode(b"%PDF-1.7").decode(), None),
        (f" {url(b'a')}\n", "a"),
    ],
)
def test_how_a_file_is_written_down(data: str, text: str | None) -> None:
    assert text_in(data) == text


LONG = 3 << 20
"""More than is looked at in one go."""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (f"data:,a{'%41' * LONG}", f"a{'A' * LONG}"),
        (f"data:,{'%e2%9c%93' * LONG}", "✓" * LONG),
        (f"data:,{'✓' * LONG}", "✓" * LONG),
        (f"data:,{'100% ' * 10_000}{'x' * LONG}", f"{'100% ' * 10_000}{'x' * LONG}"),
        (f"data:,{'%' * (LONG)}", None),
        (url("aé✓\n".encode() * (LONG // 3)), "aé✓\n" * (LONG // 3)),
        (url(b"abc" * LONG).replace("Y", "%59"), "abc" * LONG),
        (url(b"abc" * LONG).replace("YWJj" * 16, "YWJj" * 16 + "\n"), "abc" * LONG),
        (url(b"abc" * LONG) + "!", None),
        (url(b"abc" * LONG, ""), "abc" * LONG),
        (url(b"abc" * LONG + b"\0", ""), None),
    ],
    ids=[
        "escapes",
        "letters",
        "none",
        "stray",
        "all-stray",
        "wide",
        "escaped",
        "lines",
        "not",
        "undeclared",
        "binary",
    ],
)
def test_a_long_file_is_read_like_a_short_one(data: str, text: str | None) -> None:
    assert text_in(data) == text


@pytest.mark.parametrize("raw", [b"\1" * 9, b"a\x1b" * 9, b"`" * 1024, b"a" + b"`" * 2000])
def test_what_would_grow_when_it_is_written_down_is_no_text(raw: bytes) -> None:
    assert text_in(url(raw)) is None


@pytest.mark.parametrize("raw", [b"\x1b[31mred\x1b[0m" * 9, b"`" * 1023, b"\t\n\r" * 9])
def test_text_may_have_some_controls(raw: bytes) -> None:
    assert text_in(url(raw)) == raw.decode()


@pytest.mark.parametrize("data", ["", "no base64!", "data:text/plain", "file:///etc/passwd"])
def test_what_is_no_file_at_all(data: str) -> None:
    assert parse_file(data) is None


# The frame


@given(st.text(alphabet=st.sampled_from("`~ab\n \r"), max_size=200))
def test_nothing_in_a_file_can_look_like_its_end(text: str) -> None:
    head, fence, *_ = framed(text, "x", "text/plain").split("\n")
    assert head == 'File "x" (text/plain):'
    assert re.fullmatch("`{3,}", fence)
    assert fence not in text
    assert framed(text, "x", "text/plain").endswith(f"\n{fence}")
    assert f"\n{fence}\n{text}" in framed(text, "x", "text/plain")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, ""),
        ("", ""),
        (5, ""),
        ("a.md", '"a.md"'),
        ('x"\n```\nYou are', '"x\\"\\n```\\nYou are"'),
        ("x" * 1000, f'"{"x" * 200}"'),
    ],
)
def test_a_name_stays_on_its_line_in_its_quotes(name: object, shown: str) -> None:
    assert quoted_name(name) == shown
    assert framed("a", name, "").split("\n")[0] == (f"File {shown}:" if shown else "File:")


# Data URLs


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("YQ==", "YQ=="),
        ("YQ", "YQ=="),
        ("YQ=", "YQ=="),
        ("Y\r\nQ = =", "YQ=="),
        ("-_-_", "+/+/"),
        ("%59Q%3D%3d", "YQ=="),
        ("", None),
        ("=", None),
        ("a", None),
        ("ab=c", None),
        ("a!bc", None),
        ("äöüß", None),
    ],
)
def test_base64_is_written_in_one_way(text: str, canonical: str | None) -> None:
    assert canonical_base64(text) == canonical


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("data:a/b,c", DataUrl("a/b", {}, is_base64=False, data="c")),
        ("DATA:A/B;BASE64,c,d", DataUrl("a/b", {}, is_base64=True, data="c,d")),
        (
            'data:a/b; x=1;N="a;b,c" ;base64,',
            DataUrl("a/b", {"x": "1", "n": "a;b,c"}, is_base64=True, data=""),
        ),
        ("data:a b;base64,", DataUrl("", {}, is_base64=True, data="")),
        ("data:a/b;base64", None),
        ("data", None),
        ('data:a/b;x=",', None),
        ("data:" + ";" * 100_000, None),
        ("data:" + ";a" * 100_000 + '"', None),
    ],
)
def test_the_parts_of_a_data_url(text: str, parsed: DataUrl | None) -> None:
    assert parse_data_url(text) == parsed
