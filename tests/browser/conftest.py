"""Starts the service and a Chromium for the suite; each test has a page of its own, which may say nothing bad."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.separate_service import Remote, running, started

BROWSERS = ("chromium", "google-chrome", "chromium-browser")
DEADLINE_MS = 30_000
REFUSED = "Failed to load resource: "
"""What a browser itself says of a request that was refused or did not arrive, and of nothing else."""


@pytest.fixture(scope="session")
def service() -> Iterator[dict[str, str]]:
    """The address and the key of a running gateway, and prompts."""
    with running(Path(__file__).with_name("service.py")) as told:
        yield told


@pytest.fixture(scope="session")
def remote() -> Iterator[Remote]:
    """A gateway with an operator's key, to be harmed and mended."""
    with started(Path(__file__).with_name("console_service.py")) as process:
        yield Remote(process)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path is not None, f"none of {BROWSERS} is installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(DEADLINE_MS)
    yield context
    context.close()


@pytest.fixture
def said() -> list[str]:
    """What the console was told."""
    return []


@pytest.fixture
def page(context: BrowserContext, said: list[str]) -> Iterator[Page]:
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    assert [text for text in said if not text.startswith(REFUSED)] == []
