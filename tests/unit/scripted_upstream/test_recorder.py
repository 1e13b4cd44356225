import pytest

from scripted_upstream import recorder as module
from scripted_upstream.prompt_cache import Charge
from scripted_upstream.recorder import Recorder


class Clock:
    now = 1.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def recorder(*, keeps: bool = True) -> Recorder:
    return Recorder(Clock(), keeps=keeps)


def test_a_record_tells_its_life() -> None:
    book = recorder()
    record = book.arrived("POST", "/v1/responses", {"Host": "h"}, b'{"a":1}')
    assert book.state()["in_flight"] == 1
    book.mark(record, "headers_sent")
    book.mark(record, "headers_sent")
    book.finished(record, "completed")
    shown = record.rendered()
    assert (shown["arrived_ms"], shown["headers_sent_ms"], shown["finished_ms"]) == (
        2000,
        3000,
        5000,
    )
    assert shown["peer_closed_ms"] is None
    assert (shown["body"], shown["outcome"]) == ({"a": 1}, "completed")
    assert book.state()["in_flight"] == 0


@pytest.mark.parametrize(("body", "shown"), [(b"", None), (b"{oops", "{oops"), (b"\xff", "�")])
def test_a_body_that_is_no_json_is_shown_as_text(body: bytes, shown: str | None) -> None:
    assert recorder().arrived("POST", "/", {}, body).rendered()["body"] == shown


def test_a_credential_is_never_kept() -> None:
    book = recorder()
    headers = [
        book.arrived("GET", "/", {"Authorization": key}, b"").headers
        for key in ("Bearer secret", "Bearer secret", "Bearer other")
    ]
    assert "secret" not in str(headers)
    assert headers[0]["authorization"] == "<present>"
    prints = [header["authorization-sha256"] for header in headers]
    assert prints[0] == prints[1] != prints[2]
    assert book.arrived("GET", "/", {}, b"").headers == {"authorization": "<absent>"}


def test_records_are_found_by_marker() -> None:
    book = recorder()
    for body in (b"m1", b"m2", b"m1 m2"):
        book.arrived("POST", "/", {}, body)
    assert [record.sequence for record in book.matching("m1")] == [1, 3]
    assert book.count("m2", "arrived") == 2
    assert book.count(None, "finished") == 0


def test_old_records_make_room() -> None:
    book = recorder()
    half = module.MAX_BYTES // 2
    for _ in range(3):
        book.arrived("POST", "/", {}, bytes(half))
    assert [record.sequence for record in book.matching(None)] == [2, 3]
    assert book.state()["requests_total"] == 3


def test_without_control_nothing_is_kept() -> None:
    book = recorder(keeps=False)
    book.arrived("POST", "/", {}, b"a prompt")
    assert book.matching(None) == []
    assert book.state()["requests_total"] == 1


def test_release_opens_the_gates_of_a_marker() -> None:
    book = recorder()
    gates = [book.hold(book.arrived("POST", "/", {}, body)) for body in (b"m1", b"m2")]
    assert book.count("m1", "held") == 1
    assert book.release("m1") == 1
    assert book.release("m1") == 0
    assert [gate.is_set() for gate in gates] == [True, False]


def test_waiting_ends_at_once_when_it_is_so_and_else_in_time() -> None:
    book = recorder()
    book.arrived("POST", "/", {}, b"m")
    assert book.wait("m", "arrived", 1, 1000) == 1
    assert book.wait("m", "arrived", 2, 1) == 1


def test_errors_are_counted_and_the_last_ones_kept() -> None:
    book = recorder()
    for number in range(30):
        book.failed(f"error {number}")
    assert book.state()["errors"] == 30
    assert book.state()["last_errors"][-1] == "error 29"
    assert len(book.state()["last_errors"]) == 20


def test_reset_forgets_and_releases() -> None:
    book = recorder()
    record = book.arrived("POST", "/", {}, b"m")
    gate = book.hold(record)
    book.failed("e")
    book.charged(Charge(10, 5))
    book.reset()
    assert gate.is_set()
    assert book.matching(None) == []
    assert book.state() == {
        "open_connections": 0,
        "requests_total": 0,
        "bytes_received": 0,
        "bytes_sent": 0,
        "input_tokens": 0,
        "cached_tokens": 0,
        "in_flight": 1,
        "errors": 0,
        "last_errors": [],
    }


def test_bytes_and_tokens_are_added_up() -> None:
    book = recorder()
    for body, sent in ((b"12345", 100), (b"123", 20)):
        record = book.arrived("POST", "/", {}, body)
        record.bytes_sent = sent
        book.charged(Charge(1500, 1024))
        book.finished(record, "completed")
    state = book.state()
    assert (state["bytes_received"], state["bytes_sent"]) == (8, 120)
    assert (state["input_tokens"], state["cached_tokens"]) == (3000, 2048)
