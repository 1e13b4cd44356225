import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rpc.messages import (
    ErrorResponse,
    LineSplitter,
    Malformed,
    Message,
    Notification,
    Oversized,
    Request,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    parse_line,
)

CLASSIFICATION: list[tuple[bytes, Message]] = [
    (b'{"method":"m"}', Notification("m", {})),
    (b'{"method":"m","params":{"a":1}}', Notification("m", {"a": 1})),
    (b'{"method":"m","params":null}', Notification("m", {})),
    (b'{"method":"m","params":[1]}', Notification("m", {})),
    (b'{"method":"m","id":null}', Notification("m", {})),
    (b'{"method":"m","id":0,"params":{"a":[]}}', Request(0, "m", {"a": []})),
    (b'{"method":"m","id":"x"}', Request("x", "m", {})),
    (b'{"method":"m","id":1,"result":2}', Request(1, "m", {})),
    (b'{"id":1,"result":{"a":1}}', Response(1, {"a": 1})),
    (b'{"id":1,"result":null}', Response(1, None)),
    (b'{"id":1,"result":0,"error":null}', Response(1, 0)),
    (b'{"id":"x","result":[]}', Response("x", [])),
    (b'{"jsonrpc":"2.0","id":1,"result":1}', Response(1, 1)),
    (b' {"id":1,"result":1} \r', Response(1, 1)),
    (b'{"id":1,"error":{"code":-32001,"message":"m"}}', ErrorResponse(1, -32001, "m")),
    (b'{"id":1,"error":{"code":-1,"message":"m"},"result":1}', ErrorResponse(1, -1, "m")),
    (b'{"id":1,"error":{}}', ErrorResponse(1, 0, "")),
    (b'{"id":1,"error":{"code":"1","message":2}}', ErrorResponse(1, 0, "")),
    (b'{"id":1,"method":7,"result":1}', Response(1, 1)),
]

MALFORMED: list[tuple[bytes, str]] = [
    (b"", "not_json"),
    (b"WARNING: text", "not_json"),
    (b'{"id":1', "not_json"),
    (b'{"id":1}{"id":2}', "not_json"),
    (b'{"id":NaN}', "not_json"),
    (b'"\xff"', "not_json"),
    (b'{"method":"\\ud800"}', "not_json"),
    (b"[" * 4000 + b"]" * 4000, "not_json"),
    (b"[]", "not_an_object"),
    (b'[{"method":"m"}]', "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"1", "not_an_object"),
    (b"null", "not_an_object"),
    (b"{}", "neither_method_nor_id"),
    (b'{"params":{}}', "neither_method_nor_id"),
    (b'{"id":null,"result":1}', "neither_method_nor_id"),
    (b'{"method":7}', "neither_method_nor_id"),
    (b'{"id":1}', "neither_result_nor_error"),
    (b'{"id":1,"params":{}}', "neither_result_nor_error"),
    (b'{"id":1,"error":"text"}', "neither_result_nor_error"),
    (b'{"id":1,"error":null}', "neither_result_nor_error"),
]


@pytest.mark.parametrize(("line", "message"), CLASSIFICATION)
def test_a_line_is_classified_by_its_method_and_its_id(line: bytes, message: Message) -> None:
    assert parse_line(line) == message


@pytest.mark.parametrize(("line", "reason"), MALFORMED)
def test_a_line_that_is_no_message_is_measured_and_not_quoted(line: bytes, reason: str) -> None:
    assert parse_line(line) == Malformed(len(line), reason)


@given(st.binary(max_size=40))
def test_no_line_whatsoever_raises(line: bytes) -> None:
    assert isinstance(parse_line(line), Message)


# Encoding

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def request(number: int, params: Any) -> bytes:
    return b"".join(encode_request(number, "m", params))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (request(1, {"a": "é"}), '{"id":1,"method":"m","params":{"a":"é"}}\n'),
        (encode_notification("initialized"), '{"method":"initialized"}\n'),
        (
            encode_result("x", {"decision": "decline"}),
            '{"id":"x","result":{"decision":"decline"}}\n',
        ),
        (encode_error(0, -32601, "No."), '{"id":0,"error":{"code":-32601,"message":"No."}}\n'),
    ],
)
def test_what_we_send_is_one_compact_line_without_jsonrpc(line: bytes, expected: str) -> None:
    assert line == expected.encode()


@pytest.mark.parametrize(
    "text", ["\0", "\r", "\n", "\r\n", "a\nb\n", "\u2028\u2029", "\x85", "👩‍👩‍👧", '"\\']
)
def test_a_text_of_any_kind_stays_on_one_line_and_comes_back(text: str) -> None:
    line = request(7, {"text": text})
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert parse_line(line) == Request(7, "m", {"text": text})


@given(st.dictionaries(TEXT, JSON, max_size=3), JSON, TEXT)
def test_what_is_encoded_is_parsed_back(params: dict[str, Any], result: Any, text: str) -> None:
    assert parse_line(request(1, params)) == Request(1, "m", params)
    assert parse_line(encode_result(2, result)) == Response(2, result)
    assert parse_line(encode_error(3, -1, text)) == ErrorResponse(3, -1, text)
    assert parse_line(encode_notification("m" + text)) == Notification("m" + text, {})


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_refused_before_it_reaches_the_pipe(text: str) -> None:
    with pytest.raises(orjson.JSONEncodeError):
        request(1, {"text": text})
    with pytest.raises(orjson.JSONEncodeError):
        encode_result(1, text)


# Lines

LIMIT = 8
LINES = st.lists(
    st.binary(max_size=LIMIT * 3).map(lambda line: line.replace(b"\n", b" ")), max_size=8
)


def expected_from(lines: list[bytes]) -> list[bytes | Oversized]:
    return [line if len(line) <= LIMIT else Oversized(len(line), line) for line in lines if line]


def read(pieces: list[bytes], limit: int = LIMIT) -> list[bytes | Oversized]:
    splitter = LineSplitter(limit)
    return [line for piece in pieces for line in splitter.feed(piece)]


@given(LINES, st.data())
def test_any_split_of_the_bytes_gives_the_same_lines(
    lines: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    assert read(pieces) == expected_from(lines)


@given(LINES)
def test_byte_by_byte_gives_the_same_lines(lines: list[bytes]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    assert read([bytes([byte]) for byte in stream]) == expected_from(lines)


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b""], []),
        ([b"\n", b"\n\n"], []),
        ([b"no end"], []),
        ([b"a\nb\nc"], [b"a", b"b"]),
        ([b"a", b"b", b"\n"], [b"ab"]),
        ([b"a\r\n"], [b"a\r"]),
        ([b"12345678\n"], [b"12345678"]),
        ([b"1234", b"5678\n"], [b"12345678"]),
        ([b"123456789\nok\n"], [Oversized(9, b"123456789"), b"ok"]),
        ([b"12345678", b"9", b"\nok\n"], [Oversized(9, b"123456789"), b"ok"]),
        (
            [b"1" * 20, b"2" * 20, b"", b"3\n", b"ok\n"],
            [Oversized(41, b"1" * 20 + b"2" * 20 + b"3"), b"ok"],
        ),
        (
            [b"1" * 9, b"\n", b"2" * 9 + b"\nok\n"],
            [Oversized(9, b"1" * 9), Oversized(9, b"2" * 9), b"ok"],
        ),
    ],
)
def test_lines_are_cut_at_newlines_and_only_there(
    pieces: list[bytes], lines: list[bytes | Oversized]
) -> None:
    assert read(pieces) == lines


def test_an_endless_line_takes_no_more_memory_than_the_limit() -> None:
    piece, splitter = b"x" * 4096, LineSplitter(16 * 1024)
    tracemalloc.start()
    try:
        for _ in range(1000):
            assert splitter.feed(piece) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024
    assert splitter.feed(b"\nok\n") == [Oversized(1000 * 4096, b"x" * 512), b"ok"]


@pytest.mark.parametrize("identity", [b"true", b"[1]", b'{"a":1}', b"1.5"])
@pytest.mark.parametrize("rest", [b'"result":1', b'"method":"m"'])
def test_an_id_that_is_no_number_and_no_text_is_malformed(identity: bytes, rest: bytes) -> None:
    assert isinstance(parse_line(b'{"id":' + identity + b"," + rest + b"}"), Malformed)


@pytest.mark.parametrize("size", [1_000, 64 * 1024, 1 << 22])
def test_a_line_of_very_many_values_is_dropped_and_measured(size: int) -> None:
    heavy = b'{"method":"m","params":{"a":[' + b"[]," * 200_000 + b"[]]}}"
    wordy = b'{"method":"m","params":{"a":"' + b"[],{" * 300_000 + b'"}}'
    data = b"".join((heavy, b"\n", wordy, b"\nok\n"))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert read(pieces, 1 << 24) == [Oversized(len(heavy), heavy[:512]), wordy, b"ok"]


def test_it_is_known_while_a_line_is_dropped() -> None:
    splitter = LineSplitter(LIMIT)
    states = []
    for piece in (b"x" * LIMIT, b"x", b"x\nok", b"\n"):
        splitter.feed(piece)
        states.append(splitter.is_dropping)
    assert states == [False, True, False, False]
