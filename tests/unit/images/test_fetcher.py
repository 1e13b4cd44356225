"""What stands above the connection. `responses` takes the adapter's place, so nothing here says anything about pinning:
that is in tests/integration/images, with real servers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses

from app.errors import InvalidRequest, WorkerBusy
from app.images.cache import ImageCache
from app.images.dimensions import MOST_PIXELS, MOST_PIXELS_TOGETHER
from app.images.download import Limits
from app.images.fetcher import LEFT_OUT, ImageFetcher, Places
from tests.fakes import pictures

PNG = pictures.png(4, 4)
JPEG = pictures.jpeg(4, 4)
GIF = pictures.gif(4, 4)
WEBP = pictures.webp_lossy(4, 4)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"

URL = "https://a.test/x.png"
WHERE = "messages[0].content[0].image_url.url"


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def fetcher(**options: Any) -> ImageFetcher:
    return ImageFetcher(resolver=lambda *_: ["8.8.8.8"], **options)


def image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url}


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(parts)}


def data_url(body: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"


def refusal(url: str, **options: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        fetcher(**options).inline([message(image(url))], "key", {}, WHERE)
    return raised.value


TEXT = {"type": "input_text", "text": "https://a.test/x.png"}
NOTHING_TO_FETCH: list[dict[str, Any]] = [
    message(TEXT),
    message(),
    message(TEXT, {"type": "input_image", "image_url": data_url(PNG)}),
    {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
    {"type": "function_call_output", "call_id": "1", "output": "http://a.test/"},
    {"type": "message", "role": "user", "content": "plain"},
    message({"type": "input_image", "file_id": "f"}),
]


@pytest.mark.usefixtures("web")
def test_nothing_is_fetched_or_changed_where_nothing_is_remote() -> None:
    inlined = fetcher().inline(NOTHING_TO_FETCH, "key", {}, WHERE)
    assert all(one is other for one, other in zip(inlined, NOTHING_TO_FETCH, strict=True))
    assert fetcher(enabled=False).inline(NOTHING_TO_FETCH, "key", {}, WHERE) == tuple(
        NOTHING_TO_FETCH
    )
    assert fetcher().inline((), "key", {}, WHERE) == ()


@pytest.mark.parametrize(
    ("body", "kind"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
@pytest.mark.parametrize(
    "declared", ["image/png", "IMAGE/JPEG; q=1", "image/jpg", "application/octet-stream", None]
)
def test_the_first_bytes_decide_what_an_image_is(
    web: responses.RequestsMock, body: bytes, kind: str, declared: str | None
) -> None:
    web.get(URL, body, content_type=declared)
    (inlined,) = fetcher().inline([message(image(URL))], "key", {}, WHERE)
    assert inlined["content"] == [{"type": "input_image", "image_url": data_url(body, kind)}]


def test_everything_else_stays_where_it_is(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png")
    items = [message(TEXT, {**image(URL), "detail": "high"}, TEXT), *NOTHING_TO_FETCH]
    before = repr(items)
    inlined = fetcher().inline(items, "key", {}, WHERE)
    got = {"type": "input_image", "image_url": data_url(PNG), "detail": "high"}
    assert inlined == (message(TEXT, got, TEXT), *NOTHING_TO_FETCH)
    assert repr(items) == before, "what was given is not changed"


def test_an_image_in_a_tool_output_is_fetched_too(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png")
    item = {"type": "function_call_output", "call_id": "1", "output": [image(URL)]}
    (inlined,) = fetcher().inline([item], "key", {}, WHERE)
    assert inlined["output"] == [{"type": "input_image", "image_url": data_url(PNG)}]


def test_the_same_address_is_fetched_once(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png")
    items = [message(image(URL), image(URL)), message(image(URL))]
    inlined = fetcher().inline(items, "key", {}, WHERE)
    parts = [part for item in inlined for part in item["content"]]
    assert parts == [{"type": "input_image", "image_url": data_url(PNG)}] * 3
    assert len(web.calls) == 1


def test_the_field_of_the_first_image_that_fails_is_named(web: responses.RequestsMock) -> None:
    web.get("https://a.test/1", PNG, content_type="image/png")
    web.get("https://a.test/2", status=404)
    web.get("https://a.test/3", status=404)
    fields = {f"https://a.test/{index}": f"messages[{index}]" for index in (1, 2, 3)}
    with pytest.raises(InvalidRequest) as raised:
        fetcher().inline([message(*map(image, fields))], "key", fields, "messages")
    assert raised.value.param == "messages[2]"
    assert "messages[2]" in raised.value.message


@pytest.mark.parametrize("default", ["messages", "input"])
def test_without_a_field_of_its_own_an_image_is_named_as_the_caller_says(
    web: responses.RequestsMock, default: str
) -> None:
    web.get(URL, status=404)
    with pytest.raises(InvalidRequest) as raised:
        fetcher().inline([message(image(URL))], "key", {"https://b.test/": WHERE}, default)
    assert raised.value.param == default


@pytest.mark.usefixtures("web")
def test_no_image_is_fetched_where_fetching_is_off() -> None:
    error = refusal(URL, enabled=False)
    assert (error.status, error.code, error.param) == (400, "invalid_image_url", WHERE)
    assert "data URL" in error.message


@pytest.mark.usefixtures("web")
def test_a_url_that_is_none_is_called_so() -> None:
    for url in ("http://user:secret@a.test/", "file:///etc/passwd", "http://0x7f.1/", ""):
        error = refusal(url)
        assert (error.code, error.param) == ("invalid_image_url", WHERE)
        assert "plain http(s) address" in error.message
        assert "secret" not in error.message


def not_an_image(web: responses.RequestsMock, body: bytes, declared: str) -> InvalidRequest:
    web.get(URL, body, content_type=declared)
    error = refusal(URL)
    assert error.code == "invalid_image_format"
    return error


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (PNG, "text/html"),
        (PNG, "application/json"),
        (b"<html>secret</html>", "image/png"),
        (b"secret", "application/octet-stream"),
        (SVG, "image/svg+xml"),
        (b"RIFF\x10\x00\x00\x00AVI LIST", "image/webp"),
        (b"\x89PN", "image/png"),
    ],
)
def test_what_is_no_image_is_refused_and_not_quoted(
    web: responses.RequestsMock, body: bytes, declared: str
) -> None:
    assert "secret" not in not_an_image(web, body, declared).message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (pictures.webp_lossless(16_383, 16_383), "image_too_large"),
        (pictures.png(1 << 20, 1 << 20), "image_too_large"),
        (pictures.png(0, 0), "image_parse_error"),
        (b"\xff\xd8\xff" + bytes(100), "image_parse_error"),
    ],
)
def test_an_image_of_too_many_pixels_or_of_none_is_refused(
    web: responses.RequestsMock, body: bytes, code: str
) -> None:
    web.get(URL, body, content_type="image/png")
    error = refusal(URL)
    assert (error.status, error.code, error.param) == (400, code, WHERE)


def test_pixels_count_together_with_those_of_data_urls_and_of_kept_images(
    web: responses.RequestsMock,
) -> None:
    web.get(URL, pictures.png(8_192, 8_192), content_type="image/png")
    fetching, item, left = fetcher(), message(image(URL)), MOST_PIXELS_TOGETHER - MOST_PIXELS
    fetching.inline([item], "key", {}, WHERE, pixels=left)
    for one in (fetching, fetcher()):
        with pytest.raises(InvalidRequest) as raised:
            one.inline([item], "key", {}, WHERE, pixels=left + 1)
        assert raised.value.code == "image_too_large"
        (inlined,) = one.inline([item], "key", {}, WHERE, {URL}, pixels=left + 1)
        assert inlined["content"] == [LEFT_OUT]


def test_an_empty_body_is_refused(web: responses.RequestsMock) -> None:
    web.get(URL, b"", content_type="image/png")
    assert refusal(URL).code == "empty_image_file"


def test_an_image_of_exactly_the_limit_passes_and_one_byte_more_does_not(
    web: responses.RequestsMock,
) -> None:
    web.get(URL, PNG, content_type="image/png")
    limits = Limits(image_bytes=len(PNG))
    assert fetcher(limits=limits).inline([message(image(URL))], "key", {}, WHERE)
    error = refusal(URL, limits=Limits(image_bytes=len(PNG) - 1))
    assert (error.code, error.param) == ("image_file_too_large", WHERE)
    assert str(len(PNG) - 1) in error.message


def test_the_images_of_one_request_share_a_limit(web: responses.RequestsMock) -> None:
    urls = [f"https://a.test/{index}" for index in range(3)]
    for url in urls:
        web.get(url, PNG, content_type="image/png")
    items = [message(*map(image, urls))]
    assert fetcher(limits=Limits(request_bytes=3 * len(PNG))).inline(items, "key", {}, WHERE)
    with pytest.raises(InvalidRequest, match="too large"):
        fetcher(limits=Limits(request_bytes=3 * len(PNG) - 1)).inline(items, "key", {}, WHERE)


@pytest.mark.usefixtures("web")
def test_only_so_many_addresses_are_fetched_for_one_request() -> None:
    fields = {f"https://a.test/{index}": f"messages[{index}]" for index in range(5)}
    images = fetcher(limits=Limits(images=4))
    with pytest.raises(InvalidRequest, match="At most 4 images") as raised:
        images.inline([message(*map(image, fields))], "key", fields, "messages")
    assert raised.value.param == "messages[4]"


def unreachable(error: InvalidRequest) -> None:
    assert (error.code, error.param) == ("invalid_image_url", WHERE)
    assert "could not be downloaded" in error.message


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 404, 407, 429, 500, 503])
def test_any_status_but_200_is_a_failure(web: responses.RequestsMock, status: int) -> None:
    web.get(URL, PNG, content_type="image/png", status=status)
    unreachable(refusal(URL))


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip"])
def test_an_encoded_answer_is_refused_unread(web: responses.RequestsMock, encoding: str) -> None:
    web.get(URL, PNG, content_type="image/png", headers={"Content-Encoding": encoding})
    unreachable(refusal(URL))


@pytest.mark.parametrize(
    "failure",
    [
        requests.ConnectionError("10.0.0.1 refused"),
        requests.exceptions.SSLError("10.0.0.1 has another name"),
        requests.exceptions.InvalidHeader("10.0.0.1"),
        OSError("10.0.0.1"),
        UnicodeError("10.0.0.1"),
    ],
)
def test_every_failure_on_the_way_reads_the_same(
    web: responses.RequestsMock, failure: Exception
) -> None:
    web.get(URL, body=failure)
    error = refusal(URL)
    unreachable(error)
    assert error.message == refusal("http://127.0.0.1:6379/").message
    assert error.message == refusal("http://a.test:22/").message
    assert "10.0.0.1" not in error.message


@pytest.mark.parametrize("failure", [requests.ConnectTimeout, requests.ReadTimeout, TimeoutError])
def test_a_silent_server_is_worth_another_try(
    web: responses.RequestsMock, failure: type[Exception]
) -> None:
    web.get(URL, body=failure("10.0.0.1 is silent"))
    error = refusal(URL)
    assert (error.status, error.code, error.retryable) == (408, "IMAGE_TIMEOUT", True)
    assert error.message == (
        f"The image at '{WHERE}' could not be downloaded in time. Try again, or send a data URL like "
        "data:image/png;base64,..."
    )


def test_a_redirect_is_followed(web: responses.RequestsMock) -> None:
    web.get(URL, status=302, headers={"Location": "//b.test/y?z#w"})
    web.get(
        "https://b.test/y?z",
        status=308,
        headers={"Location": "./z é.png".encode().decode("latin-1")},
    )
    web.get("https://b.test/z%20%C3%A9.png", PNG, content_type="image/png")
    assert fetcher().inline([message(image(URL))], "key", {}, WHERE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_three_redirects_are_followed_and_no_more(web: responses.RequestsMock, status: int) -> None:
    for index in range(4):
        where = {"Location": f"/{index + 1}"}
        web.get(f"https://a.test/{index}", status=status, headers=where)
    web.assert_all_requests_are_fired = False
    web.get("https://a.test/4", PNG, content_type="image/png")
    unreachable(refusal("https://a.test/0"))
    assert len(web.calls) == 4
    assert fetcher().inline([message(image("https://a.test/1"))], "key", {}, WHERE)


@pytest.mark.parametrize(
    "target",
    [
        "http://a.test/downgrade",
        "ftp://a.test/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "https://user:secret@a.test/",
        "https://a.test:99999/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://169.254.169.254/latest/meta-data",
        "https://a.test:8443/",
        "https://[oops/",
        "\x80",
    ],
)
def test_a_redirect_is_judged_like_any_address(web: responses.RequestsMock, target: str) -> None:
    web.get(URL, status=302, headers={"Location": target})
    error = refusal(URL)
    unreachable(error)
    assert error.message == refusal("http://127.0.0.1/").message


def test_an_upgrade_is_no_downgrade(web: responses.RequestsMock) -> None:
    web.get("http://a.test/", status=301, headers={"Location": "https://a.test/"})
    web.get("https://a.test/", PNG, content_type="image/png")
    assert fetcher().inline([message(image("http://a.test/"))], "key", {}, WHERE)


@pytest.mark.usefixtures("web")
def test_a_name_with_one_private_address_is_not_asked() -> None:
    guarded = ImageFetcher(resolver=lambda *_: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(InvalidRequest) as raised:
        guarded.inline([message(image(URL))], "key", {}, WHERE)
    unreachable(raised.value)


def test_a_request_says_nothing_about_us(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png", headers={"Set-Cookie": "a=b"})
    fetcher().inline([message(image(URL))], "key", {}, WHERE)
    sent = web.calls[0].request
    assert sent.headers == {
        "User-Agent": "codex-completions-api (image download)",
        "Accept": "image/png, image/jpeg, image/gif, image/webp",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Host": "a.test",
    }
    assert sent.body is None


def no_place(owner: str, within_s: float) -> Callable[[], None]:
    raise WorkerBusy(f"{owner} waited {within_s:g} s", retry_after_s=7)


@pytest.mark.usefixtures("web")
def test_too_many_requests_that_fetch_are_told_to_come_again() -> None:
    full = fetcher(places=Places(requests=no_place))
    with pytest.raises(WorkerBusy, match="images are being downloaded") as busy:
        full.inline([message(image(URL))], "key", {}, WHERE)
    assert busy.value.retry_after_s == 7
    assert full.inline(NOTHING_TO_FETCH, "key", {}, WHERE)


def test_a_failure_gives_its_place_back(web: responses.RequestsMock) -> None:
    web.get(URL, status=404)
    moves: list[str] = []

    def take(owner: str, within_s: float) -> Callable[[], None]:
        moves.append(f"{owner} within {within_s:g}")
        return lambda: moves.append("back")

    images = fetcher(places=Places(requests=take))
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            images.inline([message(image(URL))], "key", {}, WHERE)
    assert moves == ["key within 10", "back"] * 2


def test_the_log_has_the_reason_and_not_the_address(
    web: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    web.get(URL, status=404)
    with caplog.at_level("INFO", "codex_api.images"):
        refusal(URL)
        refusal("http://127.0.0.1/")
    assert [record.message for record in caplog.records] == ["image_not_fetched"] * 2
    assert [vars(record)["reason"] for record in caplog.records] == [
        "http_status",
        "address_not_allowed",
    ]
    assert all("a.test" not in repr(vars(record)) for record in caplog.records)


def test_the_next_turn_downloads_nothing_again(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png")
    images = fetcher()
    for _ in range(3):
        (inlined,) = images.inline([message(TEXT, image(URL))], "key", {}, WHERE)
        assert inlined["content"][1]["image_url"] == data_url(PNG)
    assert len(web.calls) == 1
    images.inline([message(image(URL))], "another key", {}, WHERE)
    assert len(web.calls) == 2, "what one key had downloaded is not given to another"


@pytest.mark.parametrize("hop", [0, 1], ids=["at the redirect", "at the image"])
def test_what_a_server_wants_forgotten_is_downloaded_again(
    web: responses.RequestsMock, hop: int
) -> None:
    forbidden = [{"Cache-Control": "no-store"}, {}]
    web.get(URL, status=302, headers={"Location": "/y", **forbidden[hop]})
    web.get("https://a.test/y", PNG, content_type="image/png", headers=forbidden[1 - hop])
    images = fetcher()
    for _ in range(2):
        assert images.inline([message(image(URL))], "key", {}, WHERE)
    assert len(web.calls) == 4


def test_a_failure_is_not_remembered(web: responses.RequestsMock) -> None:
    web.get(URL, status=503)
    web.get(URL, PNG, content_type="image/png")
    images = fetcher()
    with pytest.raises(InvalidRequest):
        images.inline([message(image(URL))], "key", {}, WHERE)
    assert images.inline([message(image(URL))], "key", {}, WHERE)


def test_a_kept_image_counts_like_any_other(web: responses.RequestsMock) -> None:
    urls = [f"https://a.test/{index}" for index in range(3)]
    for url in urls:
        web.get(url, PNG, content_type="image/png")
    images = fetcher(limits=Limits(request_bytes=2 * len(PNG)))
    for pair in (urls[:2], urls[1:]):
        assert images.inline([message(*map(image, pair))], "key", {}, WHERE)
    fields = {url: f"at {url[-1]}" for url in urls}
    with pytest.raises(InvalidRequest, match="too large") as raised:
        images.inline([message(*map(image, urls))], "key", fields, "messages")
    assert raised.value.param == "at 2"


def test_a_kept_image_needs_no_place_in_the_queue(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png")
    cache = ImageCache()
    fetcher(cache=cache).inline([message(image(URL))], "key", {}, WHERE)
    full = fetcher(cache=cache, places=Places(requests=no_place))
    assert full.inline([message(image(URL))], "key", {}, WHERE)


def test_what_is_kept_does_not_help_where_fetching_is_off(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png")
    cache = ImageCache()
    fetcher(cache=cache).inline([message(image(URL))], "key", {}, WHERE)
    with pytest.raises(InvalidRequest):
        fetcher(cache=cache, enabled=False).inline([message(image(URL))], "key", {}, WHERE)


# The past: an image that the model has answered to already may be gone

GONE = "https://a.test/gone.png"


def past(web_fetcher: ImageFetcher, *urls: str, fields: Any = None) -> list[Any]:
    items = [message(image(url)) for url in urls]
    inlined = web_fetcher.inline(items, "key", fields or {}, WHERE, {GONE, URL})
    return [item["content"][0] for item in inlined]


def test_an_image_of_the_past_that_is_gone_is_left_out(web: responses.RequestsMock) -> None:
    web.get(GONE, status=404)
    web.get(URL, PNG, content_type="image/png")
    assert past(fetcher(), GONE, URL, GONE) == [
        LEFT_OUT,
        {"type": "input_image", "image_url": data_url(PNG)},
        LEFT_OUT,
    ]


def test_what_is_gone_is_not_looked_for_in_every_turn(web: responses.RequestsMock) -> None:
    web.get(GONE, status=404)
    images = fetcher()
    assert past(images, GONE) == past(images, GONE) == [LEFT_OUT]
    assert len(web.calls) == 1
    with pytest.raises(InvalidRequest):  # where it is asked for, it is looked for
        past(images, GONE, fields={GONE: WHERE})
    assert len(web.calls) == 2


def test_one_that_is_named_again_now_has_to_be_there(web: responses.RequestsMock) -> None:
    web.get(GONE, status=404)
    with pytest.raises(InvalidRequest) as raised:
        past(fetcher(), GONE, fields={GONE: WHERE})
    assert raised.value.param == WHERE


@pytest.mark.usefixtures("web")
def test_where_nothing_is_downloaded_the_past_is_left_out() -> None:
    assert past(fetcher(enabled=False), URL) == [LEFT_OUT]
    with pytest.raises(InvalidRequest):
        past(fetcher(enabled=False), URL, fields={URL: WHERE})


def test_where_there_are_too_many_the_latest_of_the_past_stay(web: responses.RequestsMock) -> None:
    urls = [f"https://a.test/{i}.png" for i in range(4)]
    for url in (urls[0], *urls[2:]):
        web.get(url, PNG, content_type="image/png")
    items = [message(image(url)) for url in urls]
    few = fetcher(limits=Limits(images=3))
    inlined = few.inline(items, "key", {urls[0]: WHERE}, WHERE, set(urls))
    kinds = [item["content"][0]["type"] for item in inlined]
    assert kinds == ["input_image", "input_text", "input_image", "input_image"]


def test_the_past_takes_no_room_from_what_is_asked_now(web: responses.RequestsMock) -> None:
    web.get(URL, PNG, content_type="image/png")
    web.get(GONE, PNG, content_type="image/png")
    small = fetcher(limits=Limits(request_bytes=len(PNG) + 5))
    for _ in range(2):  # the second time from the cache
        first, second = past(small, GONE, URL, fields={URL: WHERE})
        assert (first, second["type"]) == (LEFT_OUT, "input_image")
