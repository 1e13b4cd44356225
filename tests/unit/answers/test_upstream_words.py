"""Words of the upstream: found in whatever body it sends, scrubbed, and never longer than a sentence."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.upstream_words import SENTENCE_CHARS, UpstreamWords, read_words

URL = "http://secret.example/v1/responses"


@pytest.mark.parametrize(
    ("message", "sentence", "code", "param"),
    [
        ('{"error":{"message":"So.","code":"c","param":"p"}}', "So.", "c", "p"),
        ('{"error":{"message":"So.","code":5,"param":["p"]}}', "So.", None, None),
        ('{"error":{"message":"So.","code":"' + "c" * 65 + '"}}', "So.", None, None),
        ('{"error":"So."}', "So.", None, None),
        ('{"detail":"So."}', "So.", None, None),
        ('{"detail":{"code":"c"}}', "", "c", None),
        ('{"detail":{"error":{"message":"So."}}}', "So.", None, None),
        (
            '{"detail":[{"loc":["body","x",0],"msg":"So."},{"msg":"no"}]}',
            "body.x.0: So.",
            None,
            None,
        ),
        ('{"detail":["So."]}', "So.", None, None),
        ('[{"error":{"message":"So.","code":"c"}}]', "So.", "c", None),
        ('{"message":"So.","code":"c"}', "So.", "c", None),
        ('{"error":null,"message":"So."}', "So.", None, None),
        ("[" * 50 + "]" * 50, "", None, None),
        ("So it is", "So it is", None, None),
        (f"unexpected status 403 Forbidden: So., url: {URL}, cf-ray: 1-X", "So.", None, None),
        (
            f'unexpected status 403 Forbidden: {{"detail":"So, url: x"}}, url: {URL}',
            "So, url: x",
            None,
            None,
        ),
        (
            'unexpected status 422 X: {"detail":[{"msg":"So \\"it\\" is","inp',
            'So \\"it\\" is',
            None,
            None,
        ),
        ('unexpected status 422 X: {"detail":[{"input":"a prompt","inp', "", None, None),
        ("unexpected status 502 Bad Gateway: <html>So</html>, url: x", "", None, None),
        ("unexpected status 500 X", "", None, None),
        ("", "", None, None),
    ],
)
def test_every_form_of_a_body_is_read(
    message: str, sentence: str, code: str | None, param: str | None
) -> None:
    words = read_words(message)
    assert (words.sentence, words.code, words.param) == (sentence, code, param)


@pytest.mark.parametrize(
    ("said", "passed_on"),
    [
        (f"See {URL}, request ID req_0123456789abcdef.", "See ... request ID ...."),
        ("Key sk-proj-Ab1_-Cd2 is not allowed.", "Key ... is not allowed."),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc_-d is old.", "... is old."),
        ("The token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc is old.", "The token ... is old."),
        ("Bearer token missing.", "Bearer token missing."),
        ("No user-AbCdEfGhIjKlMnOpQr12 in proj_AbCdEfGhIjKl1234.", "No ... in ..."),
        ("Session sess-AbCdEfGhIjKl1234 ended.", "Session ... ended."),
        ("Failed at /srv/llm/app/server.py, line 5.", "Failed at ..., line 5."),
        ("x" * (SENTENCE_CHARS + 1), "x" * (SENTENCE_CHARS - 3) + "..."),
        ("x" * SENTENCE_CHARS, "x" * SENTENCE_CHARS),
    ],
)
@pytest.mark.parametrize("form", ['{"error":{"message":%s}}', '{"detail":%s}', "%s"])
def test_what_is_passed_on_is_scrubbed_and_bounded(said: str, passed_on: str, form: str) -> None:
    text = said if form == "%s" else form % orjson.dumps(said).decode()
    assert read_words(text).sentence == passed_on


@given(st.text())
def test_any_message_has_words_that_can_be_shown(message: str) -> None:
    assert len(read_words(message).sentence) <= SENTENCE_CHARS


def test_our_sentence_comes_first_and_the_whole_ends_with_a_stop() -> None:
    assert UpstreamWords().quoted("No.") == "No."
    assert UpstreamWords("So").quoted("No.") == "No. The upstream said: So."
    assert UpstreamWords("您没有权限。").quoted("No.") == "No. The upstream said: 您没有权限。"
    assert UpstreamWords(code="gone").quoted("No.") == "No. The upstream said: gone."


@pytest.mark.parametrize(
    ("body", "sentence", "code"),
    [
        ({"errors": [{"message": "Nested.", "code": "n"}]}, "Nested.", "n"),
        ({"message": "First.", "errors": [{"message": "Second."}]}, "First.", None),
        ({"error": "invalid_request", "error_description": "Why."}, "Why.", None),
        ({"title": "Forbidden", "status": 403}, "Forbidden", None),
        ({"title": "Forbidden", "detail": "Why."}, "Why.", None),
        ({"error": {"message": "G.", "details": [{"reason": "X"}]}}, "G.", None),
        ({"detail": "So.", "code": "two\nlines"}, "So.", None),
        ({"detail": "So.", "code": "insufficient.v2:quota-x"}, "So.", "insufficient.v2:quota-x"),
    ],
)
def test_so_are_those_of_other_servers(body: object, sentence: str, code: str | None) -> None:
    words = read_words(orjson.dumps(body).decode())
    assert (words.sentence, words.code) == (sentence, code)
