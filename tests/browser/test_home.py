"""The page at `/` in a browser: what its reader sees and can do."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

WAIT_MS = 30_000
MARKUP = "<b>not bold</b> <img src=x onerror=alert(1)> &amp; the end"

expect.set_options(timeout=WAIT_MS)


def opened(page: Page, service: dict[str, str], *, with_key: bool = True) -> Page:
    page.goto(service["url"] + "/")
    expect(page.locator("#state-text")).to_have_text("Ready.")
    if with_key:
        page.fill("#key", service["key"])
        expect(page.locator("#model option", has_text="gpt-5.5")).to_have_count(1)
    return page


def test_a_page_that_was_only_opened_asks_for_nothing_that_is_refused(
    page: Page, service: dict[str, str], said: list[str]
) -> None:
    opened(page, service, with_key=False)
    page.wait_for_load_state("networkidle")
    assert said == []


def test_a_question_is_asked_with_the_keyboard_alone(page: Page, service: dict[str, str]) -> None:
    opened(page, service, with_key=False)
    page.keyboard.press("Tab")
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type(service["key"])
    expect(page.locator("#model option", has_text="gpt-5.5")).to_have_count(1)
    for name in ("model", "effort", "question"):
        page.keyboard.press("Tab")
        expect(page.locator(f"#{name}")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(service["markup"])
    page.keyboard.press("Tab")
    expect(page.locator("#ask")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#cost")).to_contain_text("tokens")
    expect(page.locator("#answer")).to_have_text(MARKUP)
    expect(page.locator("#answer *")).to_have_count(0)
    expect(page.locator("#problem")).to_be_hidden()


def test_what_has_come_is_shown_at_once_and_stays_when_it_is_stopped(
    page: Page, service: dict[str, str]
) -> None:
    opened(page, service)
    page.fill("#question", service["held"])
    page.click("#ask")
    expect(page.locator("#answer")).to_have_text(
        "so far and on"
    )  # the upstream still holds the end
    expect(page.locator("#cost")).to_be_hidden()
    page.click("#stop")
    expect(page.locator("#problem")).to_have_text("Stopped.")
    expect(page.locator("#answer")).to_have_text("so far and on")
    expect(page.locator("#ask")).to_be_focused()
    page.fill("#question", service["markup"])
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer")).to_have_text(MARKUP)


def test_the_end_of_a_long_answer_is_in_view(page: Page, service: dict[str, str]) -> None:
    opened(page, service)
    page.fill("#question", service["long"])
    page.click("#ask")
    expect(page.locator("#cost")).to_contain_text("tokens")
    below = page.locator("#answer").evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop")
    assert below < 4


def test_a_key_that_opens_nothing_is_said_and_forgotten_with_the_key(
    page: Page, service: dict[str, str]
) -> None:
    opened(page, service)
    problem = page.locator("#problem")
    page.fill("#key", "sk-of-nobody")
    expect(problem).to_contain_text("401 invalid_api_key")
    page.fill("#key", "")
    expect(problem).to_be_hidden()
    page.fill("#key", "schl\u00fcssel")
    expect(problem).to_have_text("This is no key: no header can hold it.")
    page.click("#ask")
    expect(problem).to_have_text("This is no key: no header can hold it.")
    page.fill("#key", "")
    expect(problem).to_be_hidden()
    page.click("#ask")
    expect(problem).to_have_text("Paste the key of this gateway first.")


def test_a_gateway_that_is_gone_and_back_is_seen(
    page: Page, context: BrowserContext, service: dict[str, str]
) -> None:
    opened(page, service)
    context.set_offline(True)
    expect(page.locator("#state-text")).to_have_text("The gateway does not answer.")
    page.click("#ask")
    expect(page.locator("#problem")).to_have_text("The gateway does not answer.")
    context.set_offline(False)
    expect(page.locator("#state-text")).to_have_text("Ready.")


def test_behind_a_path_of_a_proxy_all_of_it_is_below_that(
    page: Page, context: BrowserContext, service: dict[str, str]
) -> None:
    def pass_on(route: Route) -> None:
        inner = route.request.url.replace("https://proxy.test/codex/", service["url"] + "/")
        route.fulfill(response=route.fetch(url=inner))

    context.route("https://proxy.test/codex/**", pass_on)
    proxied = {**service, "url": "https://proxy.test/codex"}
    opened(page, proxied)
    expect(page.locator(".address")).to_have_text("https://proxy.test/codex/v1")
    page.fill("#question", service["markup"])
    page.click("#ask")
    expect(page.locator("#answer")).to_have_text(MARKUP)


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_window(
    browser: Browser, service: dict[str, str], width: int
) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = opened(context.new_page(), service)
        for summary in page.locator("summary:visible").all():
            if summary.evaluate("e => !e.parentElement.open"):
                summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
