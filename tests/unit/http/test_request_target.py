import pytest

from app.http.request_target import is_as_written

MAINTENANCE = "/internal/maintenance"
MODEL = "/v1/models/<path:name>"


@pytest.mark.parametrize(
    "target",
    [
        MAINTENANCE,
        f"{MAINTENANCE}/",
        f"{MAINTENANCE}?a=%zz#",
        f"http://host:1{MAINTENANCE}",
        f"HTTPS://h{MAINTENANCE}?a",
    ],
)
def test_its_own_spelling_is_served(target: str) -> None:
    assert is_as_written(target, MAINTENANCE, is_for_clients=False)


@pytest.mark.parametrize(
    "target",
    [
        f"/{MAINTENANCE}",
        f"//{MAINTENANCE}",
        "internal/maintenance",
        f"http://h/{MAINTENANCE}",
        f"http:{MAINTENANCE}",
        f"//h{MAINTENANCE}",
        "/%69nternal/maintenance",
        "/internal%2fmaintenance",
        "/%2finternal/maintenance",
        "/internal/maintenanc%65",
        f"{MAINTENANCE}//",
        f"{MAINTENANCE}#x",
        f"{MAINTENANCE};x",
        "/x/../internal/maintenance",
        "",
    ],
)
def test_another_spelling_is_not(target: str) -> None:
    assert not is_as_written(target, MAINTENANCE, is_for_clients=False)


@pytest.mark.parametrize(
    ("target", "is_served"),
    [
        *(("//v1/models", True), ("http://h//v1/models", True), ("///v1/models/", True)),
        *(("/v1/models//", False), ("v1/models", False), ("//h/v1/models", False)),
    ],
)
def test_more_slashes_may_come_before_what_clients_ask_for(target: str, is_served: bool) -> None:
    assert is_as_written(target, "/v1/models", is_for_clients=True) is is_served


@pytest.mark.parametrize(
    ("target", "is_served"),
    [
        ("/v1/models/a%2Fb", True),
        ("/v1/models/%67pt", True),
        ("/v1/models/gpt/", True),
        ("/v1/%6dodels/gpt", False),
        ("//v1/models/gpt", False),
    ],
)
def test_a_variable_may_be_encoded_and_what_is_fixed_may_not(target: str, is_served: bool) -> None:
    assert is_as_written(target, MODEL, is_for_clients=False) is is_served
