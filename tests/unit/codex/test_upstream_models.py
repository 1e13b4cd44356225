"""Models of a configured upstream: what its list may be, what is offered, what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import responses

from app.codex.catalog import Offer
from app.codex.home import Home
from app.codex.upstream_http import Unreachable, UpstreamHttp
from app.codex.upstream_models import UpstreamModels, parse_list

URL = "http://up/v1"


def listing(*names: Any) -> bytes:
    return orjson.dumps({"object": "list", "data": [{"id": name} for name in names]})


def models(home: Path, *words: str, url: str = URL) -> UpstreamModels:
    return UpstreamModels(words, url, "sk-upstream", Home(home), UpstreamHttp())


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (listing("a", "b/c", "d:e.f", "a"), ("a", "b/c", "d:e.f")),
        (b'[{"id": "a"}]', ("a",)),
        (b"\xef\xbb\xbf" + listing("a"), ("a",)),
        (listing("a", None, 5, "", "x" * 201, "a\nb"), ("a",)),
        (b'{"data": [{"id": "a"}, 5, null, {"name": "b"}]}', ("a",)),
    ],
)
def test_a_list(body: bytes, names: tuple[str, ...]) -> None:
    assert parse_list(body) == names


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"[]", b"5", b'{"data": {"id": "a"}}', listing(), b"\xff"]
)
def test_no_list(body: bytes) -> None:
    with pytest.raises(Unreachable):
        parse_list(body)


def test_a_list_has_an_end() -> None:
    assert len(parse_list(listing(*map(str, range(5000))))) == 2000


@responses.activate
@pytest.mark.parametrize(
    ("words", "offer"),
    [
        (("auto",), Offer(("a", "b"), has_own=False)),
        (("x", "auto", "b"), Offer(("x", "a", "b"), has_own=False)),
        (("codex", "auto"), Offer(("a", "b"), has_own=True)),
        (("codex",), Offer((), has_own=True)),
    ],
)
def test_what_is_offered(tmp_path: Path, words: tuple[str, ...], offer: Offer) -> None:
    responses.add(responses.GET, f"{URL}/models", body=listing("a", "b"))
    found = models(tmp_path, *words)
    assert found.offer() == found.offer() == offer
    assert len(responses.calls) == ("auto" in words)


@responses.activate
def test_the_last_list_is_kept_for_this_upstream_alone(tmp_path: Path) -> None:
    responses.add(responses.GET, f"{URL}/models", body=listing("a"))
    assert models(tmp_path, "auto").offer().names == ("a",)
    responses.replace(responses.GET, f"{URL}/models", status=503)
    again = models(tmp_path, "auto")
    assert again.offer().names == ("a",)
    assert len(responses.calls) == 1  # what is known is not asked for at a start
    assert not again.refresh()
    assert again.offer().names == ("a",)
    responses.add(responses.GET, "http://other/v1/models", status=503)
    assert models(tmp_path, "auto", url="http://other/v1").offer() == Offer((), has_own=True)


@responses.activate
def test_a_list_in_another_order_is_the_same_one(tmp_path: Path) -> None:
    """Else each look at it would replace the child."""
    for names in (["a", "b", "c"], ["c", "a", "b"], ["c", "b", "d"]):
        responses.add(responses.GET, f"{URL}/models", body=listing(*names))
    found = models(tmp_path, "auto")
    assert found.offer().names == ("a", "b", "c")
    assert found.refresh()
    assert found.offer().names == ("a", "b", "c")
    assert found.refresh()
    assert found.offer().names == ("c", "b", "d")


@responses.activate
@pytest.mark.parametrize("content", [b"", b"[]", b'{"url": 5}', b'{"url": "http://up/v1"}'])
def test_a_file_that_makes_no_sense_is_none(tmp_path: Path, content: bytes) -> None:
    responses.add(responses.GET, f"{URL}/models", body=listing("a"))
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "upstream-models.json").write_bytes(content)
    assert models(tmp_path, "auto").offer().names == ("a",)
