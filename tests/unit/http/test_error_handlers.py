from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app import create_app
from app.errors import InternalError, OutOfMemory
from app.http.defects import unforeseen
from app.settings import load_settings

KEY = "x" * 32


@pytest.mark.parametrize(
    ("profile", "detail"),
    [("dev", "the prompt of key=[hidden] was 7"), ("staging", None)],
)
def test_a_defect_is_told_in_words_where_nobody_but_its_developer_reads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, profile: str, detail: str | None
) -> None:
    settings = load_settings(
        {
            "PROXY_ENV": profile,
            "PROXY_API_KEY": KEY,
            "CODEX_HOME": str(tmp_path),
            "CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1",
        }
    )
    app = create_app(settings)

    @app.get("/v1/defect")
    def fail() -> str:
        raise RuntimeError("the prompt of key=sk-local-secret was\n7")

    with app.test_client() as client:
        answer = client.get("/v1/defect", headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status_code, (answer.json or {})["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "prompt" not in answer.text
    (record,) = [r for r in caplog.records if r.message == "unforeseen_error"]
    assert record.levelno == logging.ERROR
    assert vars(record).get("detail") == detail
    assert vars(record)["request_id"] == answer.headers["X-Request-Id"]


def test_a_lack_of_memory_is_no_defect() -> None:
    assert isinstance(unforeseen(MemoryError(), "req_1", is_told=False), OutOfMemory)
    assert isinstance(unforeseen(RecursionError(), "req_1", is_told=False), InternalError)
