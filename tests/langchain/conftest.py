"""Starts the service for the suite, serves the suite's picture from memory, and lets no test be skipped in silence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from langchain_tests.integration_tests import chat_models
from picture import red_square

from tests.separate_service import running

FOREIGN = ("OPENAI_", "LANGCHAIN_", "LANGSMITH_")


@pytest.fixture(scope="session")
def service() -> Iterator[dict[str, str]]:
    """The address and the key of a running gateway."""
    with running(Path(__file__).with_name("service.py")) as told:
        yield told


@pytest.fixture(scope="class", autouse=True)
def _service_of_the_class(request: pytest.FixtureRequest, service: dict[str, str]) -> None:
    request.cls.service = service


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _picture_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite downloads its picture from the internet; here it gets one that was made here."""

    def get(url: str, **_: object) -> httpx.Response:
        assert url.endswith(".png"), f"nothing is downloaded: {url}"
        return httpx.Response(200, content=red_square())

    monkeypatch.setattr(chat_models.httpx, "get", get)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> object:
    """A test is skipped if and only if its class says why: the table EXCLUDED."""
    report = yield
    excluded = getattr(item.cls, "EXCLUDED", {})
    name = item.originalname
    is_skipped = report.skipped and not hasattr(report, "wasxfail")
    if is_skipped and name in excluded:
        report.longrepr = (str(item.path), None, f"{name}: {excluded[name]}")
    elif is_skipped or (name in excluded and report.when == "call"):
        report.outcome = "failed"
        report.longrepr = f"{name}: {'skipped' if is_skipped else 'not skipped'}; see EXCLUDED"
    return report
