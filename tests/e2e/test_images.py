"""Images in a conversation: data URLs pass, addresses are fetched behind a guard, the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.harness import MODEL, PIXEL, Gateway, Upstream


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
    "url", [PIXEL.replace("data", "DATA", 1), PIXEL.rstrip("="), PIXEL.replace("png", "jpeg", 1)]
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


def test_fetching_can_be_switched_off(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(PROXY_FETCH_IMAGES="false")
    answer = gateway.post(picture("x", "https://example.org/x.png"))
    assert answer.status_code == 400
    assert "data URL" in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["input_audio", "file"])
def test_audio_and_files_are_refused_by_name(gateway: Gateway, kind: str) -> None:
    content = [{"type": kind, kind: {"data": "x"}}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
    answer = gateway.post(body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == f"messages[0].content[0].{kind}"
    assert answer.json()["error"]["code"] == "unsupported_parameter"
