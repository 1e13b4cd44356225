"""Frames of a WebSocket: as wsproto's own client reads them."""

from __future__ import annotations

import orjson
import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from app.http.websocket_frames import error_event, in_stream, text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_text_is_read_as_it_was_sent(size: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_frame(b"x" * size) + text_frame("é".encode()))
    texts, text = [], ""
    for event in client.events():
        assert isinstance(event, TextMessage)
        text += event.data
        if event.message_finished:
            texts.append(text)
            text = ""
    assert texts == ["x" * size, "é"]


def test_an_event_says_its_stream() -> None:
    assert in_stream(b'{"a":{}}', None) == b'{"a":{}}'
    assert orjson.loads(in_stream(b'{"a":{}}', 'x"')) == {"a": {}, "stream_id": 'x"'}


def test_an_error_has_its_headers_where_each_client_looks() -> None:
    headers = {"retry-after": "1"}
    event = orjson.loads(error_event(429, {"code": "WORKER_BUSY"}, headers))
    assert event == {
        "type": "error",
        "status": 429,
        "error": {"code": "WORKER_BUSY", "headers": headers},
        "headers": headers,
    }
