"""Images in a conversation: data URLs pass, addresses are fetched behind a guard, the rest is refused."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from tests.e2e.harness import MODEL, PIXEL, Gateway, Upstream, wait_until
from tests.fakes import pictures


def picture(marker: str, url: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": marker}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": MODEL, "messages": [{"role": "user", "content": parts}]}


def test_a_data_url_reaches_the_upstream(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("a pixel")
    assert gateway.post(picture(marker, PIXEL)).status_code == 200
    (request,) = upstream.control.requests(marker)
    text, image = request["body"]["input"][0]["content"]
    assert text["text"] == marker
    assert image["type"] == "input_image"
    assert image["image_url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    "url",
    [
        *(PIXEL.replace("data", "DATA", 1), PIXEL.rstrip("="), PIXEL.replace("png", "jpeg", 1)),
        PIXEL.replace(";base64", ";charset=utf-8;name=a.png;base64", 1),
        PIXEL.replace("AAAA", "AA\r\nAA"),
        PIXEL.replace("+", "-").replace("/", "_").replace("image_", "image/", 1),
    ],
)
def test_a_data_url_of_another_spelling_is_no_less_an_image(
    gateway: Gateway, upstream: Upstream, url: str
) -> None:
    marker = upstream.say("a pixel")
    assert gateway.post(picture(marker, url)).status_code == 200
    (request,) = upstream.control.requests(marker)
    assert request["body"]["input"][0]["content"][1]["image_url"] == PIXEL


@pytest.mark.parametrize("kind", ["png", "svg+xml"])
def test_an_image_of_another_format_is_refused_and_not_dropped(gateway: Gateway, kind: str) -> None:
    answer = gateway.post(picture("x", f"data:image/{kind};base64,PHN2Zy8+"))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_image_format"
    assert error["param"] == "messages[0].content[1].image_url.url"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://127.0.0.1/x.png",
            "http://localhost/x.png",
            "http://[::1]/x",
            "http://10.0.0.1/x",
        ),
        *("http://169.254.169.254/latest/meta-data/", "http://0x7f000001/", "http://2130706433/"),
        *("ftp://example.org/x.png", "file:///etc/passwd", "data:text/html;base64,QQ==", "x", ""),
    ],
)
def test_an_address_that_is_not_public_is_refused_by_name(gateway: Gateway, url: str) -> None:
    answer = gateway.post(picture("x", url))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].content[1].image_url.url"


def webp(width: int, height: int) -> str:
    """A whole image of a few bytes, whatever its size."""
    return f"data:image/webp;base64,{b64encode(pictures.webp_lossless(width, height)).decode()}"


def test_an_image_of_millions_of_pixels_passes(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("large")
    assert gateway.post(picture(marker, webp(2_500, 2_000))).status_code == 200
    (request,) = upstream.control.requests(marker)
    assert request["body"]["input"][0]["content"][1]["image_url"].startswith("data:image/webp;")


def test_an_image_that_unpacks_into_gigabytes_is_refused_by_name(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("unheard")
    body = picture(marker, webp(16_383, 16_383))
    answer = gateway.post(body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (
        400,
        "image_too_large",
        False,
    )
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert upstream.control.requests(marker) == []
    body["messages"] += [
        {"role": "assistant", "content": "A wall."},
        {"role": "user", "content": marker},
    ]
    answer = gateway.post(body)
    assert answer.json()["codex_metadata"]["ignored_parameters"] == ["messages.content.image_url"]


def test_many_large_images_together_are_refused(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("unheard")
    body = picture(marker, webp(8_192, 8_192))
    body["messages"][0]["content"] += body["messages"][0]["content"][1:] * 8
    error = gateway.post(body).json()["error"]
    assert (error["code"], error["param"]) == ("image_too_large", "messages")
    assert upstream.control.requests(marker) == []


def test_an_image_that_does_not_say_how_large_it_is_is_refused(gateway: Gateway) -> None:
    error = gateway.post(picture("x", PIXEL[:36])).json()["error"]
    assert (error["code"], error["param"]) == (
        "image_parse_error",
        "messages[0].content[1].image_url.url",
    )


def test_fetching_can_be_switched_off(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(PROXY_FETCH_IMAGES="false")
    answer = gateway.post(picture("x", "https://example.org/x.png"))
    assert answer.status_code == 400
    assert "data URL" in answer.json()["error"]["message"]


def test_a_file_of_text_is_shown_to_the_model(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("read")
    data = f"data:text/markdown;base64,{b64encode(b'# A title').decode()}"
    file = {"type": "file", "file": {"file_data": data, "filename": "notes.md"}}
    body = picture(marker, PIXEL)
    body["messages"][0]["content"].append(file)
    answer = gateway.post(body)
    assert answer.status_code == 200
    assert answer.json()["codex_metadata"]["ignored_parameters"] == []
    (request,) = upstream.control.requests(marker)
    shown = request["body"]["input"][0]["content"][2]["text"]
    assert shown == 'File "notes.md" (text/markdown):\n```\n# A title\n```'


PDF = {"file_data": "data:application/pdf;base64,JVBERi0xLjc=", "filename": "report.pdf"}
UNREADABLE: list[tuple[dict[str, Any], str]] = [
    ({"type": "file", "file": PDF}, "messages.content.file"),
    ({"type": "file", "file": {"file_id": "file-1"}}, "messages.content.file"),
    ({"type": "input_audio", "input_audio": {"data": "x"}}, "messages.content.input_audio"),
    (
        {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,Qk0="}},
        "messages.content.image_url",
    ),
    (
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/gone.png"}},
        "messages.content.image_url",
    ),
    ({"type": "video_url", "video_url": {"url": "x"}}, "messages.content.video_url"),
]


@pytest.mark.parametrize(("part", "name"), UNREADABLE)
def test_what_cannot_be_read_blocks_no_conversation_that_has_gone_on(
    gateway: Gateway, upstream: Upstream, part: dict[str, Any], name: str
) -> None:
    marker = upstream.say("on")
    asked = {"role": "user", "content": [{"type": "text", "text": "Look."}, part]}
    refused = gateway.post({"model": MODEL, "messages": [asked]})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith("messages[0].content[1]")
    both = [asked, {"role": "user", "content": marker}]
    assert gateway.post({"model": MODEL, "messages": both}).status_code == 400
    history = [asked, {"role": "assistant", "content": "I cannot."}, both[1]]
    answer = gateway.post({"model": MODEL, "messages": history})
    assert answer.status_code == 200, answer.text
    assert answer.json()["codex_metadata"]["ignored_parameters"] == [name]
    (request,) = upstream.control.requests(marker)
    words, remark = request["body"]["input"][0]["content"]
    assert words["text"] == "Look."
    assert remark["type"] == "input_text"
    assert remark["text"].endswith("was left out.]")


def test_the_log_names_an_image_of_the_past_that_is_gone(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("on")
    body = picture("Look.", "https://127.0.0.1/gone.png")
    body["messages"] += [
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": marker},
    ]
    request_id = gateway.post(body).headers["X-Request-Id"]
    line = wait_until(
        lambda: next((e for e in gateway.events("request") if e["request_id"] == request_id), None),
        "the request is logged",
    )
    assert line["ignored_parameters"] == ["messages.content.image_url"]


@pytest.mark.parametrize("kind", ["input_audio", "file"])
def test_audio_and_files_are_refused_by_name(gateway: Gateway, kind: str) -> None:
    content = [{"type": kind, kind: {"data": "x"}}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
    answer = gateway.post(body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == f"messages[0].content[0].{kind}"
    assert answer.json()["error"]["code"] == "unsupported_parameter"
