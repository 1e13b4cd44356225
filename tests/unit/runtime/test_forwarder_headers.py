import pytest

from app.runtime.forwarder_headers import without

KEPT = [
    ("HOST", "h"),
    ("AUTHORIZATION", "Bearer k"),
    ("X-FORWARDED-FOR", "1.2.3.4"),
    ("X-FORWARDED-PROTO", "https"),
    ("X-REQUEST-ID", "a"),
]


@pytest.mark.parametrize(
    "name",
    ["SCRIPT_NAME", "PATH_INFO", "REMOTE_USER", "X-ORIGINAL-URL", "X-HTTP-METHOD-OVERRIDE"],
)
def test_a_header_that_changes_a_request_is_taken_out_and_named(name: str) -> None:
    assert without([*KEPT, (name, "/v1"), (name, "/x")]) == (KEPT, frozenset({name}))


@pytest.mark.parametrize("name", ["X_REQUEST_ID", "HTTP_AUTHORIZATION", "A_B"])
def test_a_name_with_an_underscore_is_taken_out_and_not_repeated(name: str) -> None:
    assert without([(name, "x"), *KEPT]) == (KEPT, frozenset())


def test_everything_else_stays_in_its_order() -> None:
    assert without(KEPT) == (KEPT, frozenset())
