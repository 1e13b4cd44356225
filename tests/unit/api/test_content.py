import copy
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.content import (
    CHAT_PARTS,
    ONLY_TEXT,
    Past,
    to_content,
    to_text,
)
from app.errors import InvalidRequest
from tests.fakes.values import each

PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA="

REQUIRED = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_parameter"


def image(url: Any, **members: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **members}}


def text(value: Any) -> dict[str, Any]:
    return {"type": "text", "text": value}


def heard(content: Any) -> list[dict[str, Any]]:
    return to_content(content, "c", "input_text", CHAT_PARTS.input({}))


@pytest.mark.parametrize("kind", ["input_text", "output_text", "text"])
@pytest.mark.parametrize("given_text", ["", "hi", " \r\n\0\u2028"])
def test_a_string_is_one_part(given_text: str, kind: str) -> None:
    for parts in (ONLY_TEXT, CHAT_PARTS.input({}), CHAT_PARTS.output()):
        assert to_content(given_text, "c", kind, parts) == [{"type": kind, "text": given_text}]


@given(st.lists(st.text(), min_size=1))
def test_parts_of_text_stay_apart_and_in_order(texts: list[str]) -> None:
    parts = [text(value) for value in texts]
    assert heard(parts) == [{"type": "input_text", "text": value} for value in texts]
    assert to_text(parts, "c") == "".join(texts)


@given(st.text())
def test_text_alone_stays_as_it_is(value: str) -> None:
    assert to_text(value, "c") == value


def test_a_refusal_is_text_that_the_assistant_said() -> None:
    parts = [text("a"), {"type": "refusal", "refusal": "no"}]
    assert to_content(parts, "c", "output_text", CHAT_PARTS.output()) == [
        {"type": "output_text", "text": "a"},
        {"type": "output_text", "text": "no"},
    ]


# Images

IMAGES = [
    PNG,
    "data:image/jpeg;base64,/9j/4AAQ/8AACwgAAQABAQAAAAAA",
    "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAAAAACwAAAAAAQABAAAA",
    "data:image/webp;base64,UklGRhYAAABXRUJQVlA4IAoAAAAAAACdASoBAAEA",
]
ADDRESSES = ["https://example.com/a.png?x=1#y", "http://example.com/a.png"]


def image_item(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url}


@pytest.mark.parametrize("url", [*IMAGES, *ADDRESSES])
@pytest.mark.parametrize("detail", [None, "low", "high", "auto"])
def test_an_image_goes_along_without_its_detail(url: str, detail: str | None) -> None:
    members = {} if detail is None else {"detail": detail}
    assert heard([image(url, **members)]) == [image_item(url)]


@pytest.mark.parametrize("url", [PNG, *ADDRESSES])
def test_an_address_alone_is_an_image_too(url: str) -> None:
    assert heard([{"type": "image_url", "image_url": url}]) == [image_item(url)]


def test_an_image_that_is_still_to_be_fetched_is_noted_where_it_is_named_first() -> None:
    one, other = ADDRESSES
    fields: dict[str, str] = {}
    given_parts = [image(PNG), image(one), text(other), {"type": "image_url", "image_url": other}]
    to_content(given_parts, "c", "input_text", CHAT_PARTS.input(fields))
    to_content([image(other), image(one)], "d", "input_text", CHAT_PARTS.input(fields))
    assert fields == {one: "c[1].image_url.url", other: "c[3].image_url.url"}


def test_images_and_text_keep_their_order() -> None:
    kinds = [part["type"] for part in heard([text("a"), image(PNG), text("b"), image(PNG)])]
    assert kinds == ["input_text", "input_image", "input_text", "input_image"]


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("data:IMAGE/PNG;BASE64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG),
        ("DATA:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG),
        ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA", PNG),
        ("data:image/jpg;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG),
        (
            "data:image/jpeg;base64,_9j_4AAQ_8AACwgAAQABAQAAAAAA",
            "data:image/jpeg;base64,/9j/4AAQ/8AACwgAAQABAQAAAAAA",
        ),
        (
            "data:image/jpeg;base64,/9j/4A-Q/8AACwgAAQABAQAAAAAA",
            "data:image/jpeg;base64,/9j/4A+Q/8AACwgAAQABAQAAAAAA",
        ),
        *(
            (f"data:image/png{parameters};base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG)
            for parameters in (
                *(";charset=utf-8", ";name=a.png", '; name="a,b;c.png" ', ";a=1;b=2", ";", ";x"),
            )
        ),
        ("data:image/png;base64;charset=utf-8,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG),
        ("data:image/png; BASE64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG),
        ("Data:;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG),
        ("data:application/octet-stream;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA=", PNG),
        ("data:image/png;base64,iVBO\r\nRw0K\r\nGgoAAAANSUhEUgAAAAEAAAABAAA=\r\n", PNG),
        ("data:image/png;base64, iVBO Rw0K\tGgoAAAANSUhEUgAAAAEAAAABAAA = ", PNG),
        ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA%3D", PNG),
        (
            "data:image/jpeg;base64,%2F9j%2f4A%2BQ/8AACwgAAQABAQAAAAAA%0A",
            "data:image/jpeg;base64,/9j/4A+Q/8AACwgAAQABAQAAAAAA",
        ),
    ],
)
def test_an_image_is_written_as_codex_reads_it(url: str, read: str) -> None:
    assert heard([image(url)]) == [image_item(read)]


@pytest.mark.parametrize(
    "url",
    [
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:image/vnd.x-icon;base64,AAAB",
        "data:image/bmp;base64,Qk0=",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,aGk=",
        "data:image/png;base64,a b",
        "data:image/png;base64,%41B",
        "data:;base64,JVBERi0=",
        "data:image/;base64,aGk=",
    ],
)
def test_an_image_that_codex_would_drop_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        heard([image(url)])
    assert (raised.value.param, raised.value.code) == (
        "c[0].image_url.url",
        "invalid_image_format",
    )


# Files


def file(data: Any = None, **members: Any) -> dict[str, Any]:
    if data is not None:
        members["file_data"] = data
    return {"type": "file", "file": members}


def encoded(text: bytes, kind: str = "text/plain") -> str:
    return f"data:{kind};base64,{b64encode(text).decode()}"


def test_a_file_of_text_is_text_with_its_name() -> None:
    (part,) = heard([file(encoded(b"# Hi\n", "text/markdown"), filename="a.md")])
    assert part == {
        "type": "input_text",
        "text": 'File "a.md" (text/markdown):\n```\n# Hi\n```',
    }


FILES: list[tuple[dict[str, Any], str]] = [
    (file(encoded(b"x", "application/pdf")), "not readable as text (application/pdf)"),
    (file(encoded(b"x", "image/png")), "not readable as text (image/png)"),
    (file(encoded(b"\xff\xfe", "text/plain")), "not readable as text (text/plain)"),
    (file("data:text/plain;base64,!!!"), "not readable as text"),
    (file("no base64!"), "no data URL"),
    (file(""), "no data URL"),
    (file(5), "no 'file_data'"),
    (file(), "no 'file_data'"),
    (file(file_id="file-1"), "none of this 'file_id'"),
    ({"type": "file"}, "no 'file_data'"),
    ({"type": "file", "file": "x"}, "no 'file_data'"),
]


@pytest.mark.parametrize(("part", "reason"), FILES)
def test_another_file_is_refused_with_its_place_and_what_would_do(
    part: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        heard([text("a"), part])
    assert (raised.value.param, raised.value.code) == ("c[1].file", UNSUPPORTED)
    assert reason in raised.value.message
    assert "JSON" in raised.value.message


# The past

UNREAD: list[tuple[dict[str, Any], str, str]] = [
    *((part, "messages.content.file", "A file") for part, _ in FILES),
    (
        file(encoded(b"x", "application/pdf"), filename='a "b"\n.pdf'),
        "messages.content.file",
        'The file "a \\"b\\"\\n.pdf"',
    ),
    ({"type": "input_audio", "input_audio": {}}, "messages.content.input_audio", "A recording"),
    *(
        (image(url), "messages.content.image_url", "An image")
        for url in ("data:image/bmp;base64,Qk0=", "x", "data:", None, 5)
    ),
    ({"type": "video_url"}, "messages.content.video_url", "A part of this message"),
    ({"type": "x" * 500}, f"messages.content.{'x' * 64}", "A part of this message"),
]


@pytest.mark.parametrize(("part", "name", "what"), UNREAD)
def test_what_cannot_be_read_in_the_past_is_a_remark(
    part: dict[str, Any], name: str, what: str
) -> None:
    past = Past()
    before = copy.deepcopy(part)
    read = to_content([text("a"), part], "c", "input_text", CHAT_PARTS.input(past.images), past)
    remark = f"[{what} could not be read and was left out.]"
    assert read == [{"type": "input_text", "text": words} for words in ("a", remark)]
    assert list(past.unread) == [name]
    assert part == before


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, name, _ in UNREAD])
def test_among_the_models_own_words_it_is_only_left_out(part: dict[str, Any], name: str) -> None:
    past = Past()
    read = to_content([part, text("a"), part], "c", "output_text", CHAT_PARTS.output(), past)
    assert read == [{"type": "output_text", "text": "a"}]
    assert to_content([part], "c", "output_text", CHAT_PARTS.output(), past) == [
        {"type": "output_text", "text": ""}
    ]
    assert list(past.unread) == [name]


@pytest.mark.parametrize(
    "part",
    [{"type": "text"}, text(5), {"type": "refusal"}, {"type": ""}, {"type": 5}, {}, "x", None],
)
def test_a_mistake_in_words_is_one_in_the_past_too(part: Any) -> None:
    with pytest.raises(InvalidRequest):
        to_content([part], "c", "input_text", CHAT_PARTS.input({}), Past())


def test_what_can_be_read_in_the_past_is_read() -> None:
    past = Past()
    parts = [image(PNG), image(ADDRESSES[0]), file(encoded(b"x"))]
    read = to_content(parts, "c", "input_text", CHAT_PARTS.input(past.images), past)
    assert [part["type"] for part in read] == ["input_image", "input_image", "input_text"]
    assert past.unread == {}
    assert list(past.images) == ADDRESSES[:1]


# Refusals: content, param, code

NOT_STRINGS: list[Any] = [5, 1.5, True, [], {}]
NOT_IMAGES = [
    "",
    "example.com/a.png",
    "/etc/passwd",
    "file:///etc/passwd",
    "ftp://example.com/a.png",
    "HTTPS",
    "javascript:alert(1)",
    "blob:https://example.com/1",
    "data:",
    "data:,",
    "data:image/png",
    "data:image/png,abc",
    "data:image/png;base64",
    "data:image/png;base64,",
    "data:image/png;base64,iVBORw0KGgoAA",
    "data:image/png;base64,iVBORw0=Ggo=",
    "data:image/png;base64,==",
    "data:text/plain;base64,aGk=",
    "data:application/pdf;base64,aGk=",
    " data:image/png;base64,aGk=",
]

REFUSED: list[tuple[Any, str, str]] = [
    *((content, "c", TYPE) for content in each(None, 5, True, 1.5, {}, {"type": "text"})),
    ([], "c", "empty_array"),
    *(([text("a"), part], "c[1]", TYPE) for part in each(None, "text", 5, [], [text("b")])),
    ([{}], "c[0].type", REQUIRED),
    ([{"type": None}], "c[0].type", REQUIRED),
    *(([{"type": kind}], "c[0].type", VALUE) for kind in ("", "image", "summary_text", "refusal")),
    *(([{"type": kind}], f"c[0].{kind}", UNSUPPORTED) for kind in ("input_audio", "file")),
    ([{"type": "text"}], "c[0].text", REQUIRED),
    ([text(None)], "c[0].text", REQUIRED),
    *(([text(value)], "c[0].text", TYPE) for value in NOT_STRINGS),
    ([{"type": "image_url"}], "c[0].image_url", REQUIRED),
    ([{"type": "image_url", "image_url": None}], "c[0].image_url", REQUIRED),
    ([{"type": "image_url", "image_url": {}}], "c[0].image_url.url", REQUIRED),
    ([image(None)], "c[0].image_url.url", REQUIRED),
    *(([image(value)], "c[0].image_url.url", TYPE) for value in NOT_STRINGS),
    *(
        ([{"type": "image_url", "image_url": value}], "c[0].image_url.url", TYPE)
        for value in each(5, True, [])
    ),
    *(([text("a"), image(url)], "c[1].image_url.url", VALUE) for url in NOT_IMAGES),
]


@pytest.mark.parametrize(("content", "param", "code"), REFUSED)
def test_a_refusal_names_the_field(content: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        heard(content)
    assert (raised.value.param, raised.value.code) == (param, code)
    assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    ("content", "param", "code"),
    [
        ([image(PNG)], "c[0].type", VALUE),
        ([{"type": "refusal", "refusal": "no"}], "c[0].type", VALUE),
        ([{"type": "file"}], "c[0].file", UNSUPPORTED),
        ([], "c", "empty_array"),
        (None, "c", TYPE),
    ],
)
def test_where_only_text_may_be_there_is_nothing_else(content: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_text(content, "c")
    assert (raised.value.param, raised.value.code) == (param, code)


def test_a_long_address_is_not_repeated() -> None:
    with pytest.raises(InvalidRequest) as raised:
        heard([image("data:image/png;base64," + "!" * 10_000)])
    assert "!!!" not in raised.value.message


@pytest.mark.parametrize("content", [content for content, *_ in REFUSED])
def test_the_content_is_left_alone(content: Any) -> None:
    before = copy.deepcopy(content)
    with pytest.raises(InvalidRequest):
        heard(content)
    assert content == before
