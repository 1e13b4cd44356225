import pytest

from app.runtime.first_bytes import FirstBytes, ends_head, read

WHOLE = b"POST /v1/models HTTP/1.1\r\nHost: a\r\n%sX: y\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "known"),
    [
        pytest.param(b"", FirstBytes(False, False, ""), id="nothing"),
        pytest.param(b"G", FirstBytes(False, False, ""), id="a byte"),
        pytest.param(WHOLE % b"", FirstBytes(True, False, ""), id="a stranger"),
        pytest.param(
            WHOLE % b"authorization:Bearer  a b \r\n",
            FirstBytes(True, False, "Bearer  a b"),
            id="a key",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nAUTHORIZATION: Bearer a\r\nX",
            FirstBytes(False, False, "Bearer a"),
            id="a key in half a head",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nAuthorization: Bearer a",
            FirstBytes(False, False, "Bearer a"),
            id="maybe half a key",
        ),
        pytest.param(
            WHOLE % b"" + b"\r\nAuthorization: Bearer a\r\n",
            FirstBytes(True, False, ""),
            id="a body like a header",
        ),
        pytest.param(
            WHOLE % b"X-Authorization: Bearer a\r\n", FirstBytes(True, False, ""), id="another"
        ),
        pytest.param(
            b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", FirstBytes(True, True, ""), id="a probe"
        ),
        pytest.param(
            b"GET /livez HTTP/1.1\r\nHost: a\r\n", FirstBytes(False, False, ""), id="half a probe"
        ),
    ],
)
def test_what_first_bytes_tell(begun: bytes, known: FirstBytes) -> None:
    assert read(begun) == known


@pytest.mark.parametrize("more", [b"\n", b"\r\n", b"\r\n\r\n", b": y\r\n\r\nbody"])
def test_the_end_of_a_head(more: bytes) -> None:
    assert ends_head(more)


@pytest.mark.parametrize("more", [b"", b"a", b"a\r\n", b"X: y\r\nZ: "])
def test_what_is_not_the_end_of_a_head(more: bytes) -> None:
    assert not ends_head(more)
