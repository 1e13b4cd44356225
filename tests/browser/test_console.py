"""The operator's console in a browser: what its reader sees and can do, and what nobody can do to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

WAIT_MS = 30_000
MARKUP = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script><b>&amp;"
SCHEMES = ("light", "dark")
SIZES = {1280: 900, 390: 844}

expect.set_options(timeout=WAIT_MS)


class Remote(Protocol):
    facts: dict[str, str]

    def __call__(self, command: str, **arguments: Any) -> Any: ...


def address(remote: Remote) -> str:
    return remote.facts["url"] + "/internal/console"


def opened(page: Page, remote: Remote, key: str = "") -> Page:
    page.goto(address(remote))
    page.fill("#key", key or remote.facts["admin"])
    page.keyboard.press("Enter")
    expect(page.locator("#state-text")).to_have_text("Ready.")
    return page


def say(remote: Remote, *deltas: str, **more: Any) -> str:
    return str(remote("play", script={"items": [{"type": "message", "deltas": deltas}], **more}))


def fact(page: Page, panel: str, term: str) -> Locator:
    """What stands beside a term in a panel."""
    return page.locator(f"{panel} dt", has_text=term).locator("xpath=following-sibling::dd[1]")


# The key


def test_the_shell_is_empty_and_asks_for_nothing(
    page: Page, remote: Remote, said: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(address(remote))))
    page.goto(address(remote))
    expect(page.locator("#key")).to_be_focused()
    page.wait_for_load_state("networkidle")
    assert said == []
    assert not [path for path in asked if path and not path.startswith("/") and "data:" not in path]
    assert all(
        path == "" or path.endswith((".js", ".css")) for path in asked if "data:" not in path
    )
    expect(page.locator("#panels")).to_be_hidden()
    assert (
        page.locator("[data-live]").evaluate_all("nodes => nodes.map(n => n.textContent).join('')")
        == ""
    )


def test_a_wrong_key_is_said_and_shows_nothing(page: Page, remote: Remote) -> None:
    page.goto(address(remote))
    for key, words in (
        ("sk-of-nobody", "This key does not open /internal. 401 invalid_api_key"),
        (remote.facts["key"], "This key does not open /internal."),
        ("schl\u00fcssel", "This is no key: no header can hold it."),
    ):
        page.fill("#key", key)
        page.keyboard.press("Enter")
        expect(page.locator("#problem")).to_contain_text(words)
        expect(page.locator("#panels")).to_be_hidden()
        expect(page.locator("#key")).to_be_focused()
    page.fill("#key", remote.facts["admin"])
    page.keyboard.press("Enter")
    expect(page.locator("#state-text")).to_have_text("Ready.")
    expect(page.locator("#problem")).to_be_hidden()


def test_the_key_is_in_memory_alone(page: Page, context: BrowserContext, remote: Remote) -> None:
    opened(page, remote)
    key = remote.facts["admin"]
    kept = page.evaluate(
        "() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, history.state,"
        " document.documentElement.outerHTML, [...document.querySelectorAll('input')].map(i => i.value)])"
    )
    assert key not in kept
    assert context.cookies() == []
    page.reload()
    expect(page.locator("#key")).to_be_visible()
    expect(page.locator("#panels")).to_be_hidden()
    opened(page, remote).click("#lock")
    expect(page.locator("#panels")).to_be_hidden()
    assert (
        page.locator("[data-live]").evaluate_all("nodes => nodes.map(n => n.textContent).join('')")
        == ""
    )


# The panels


@pytest.fixture
def held(remote: Remote) -> Iterator[str]:
    """A stream that is open, and let go with the test."""
    marker = remote("hold")
    yield marker
    remote("release", marker=marker)


@pytest.mark.usefixtures("held")
def test_every_panel_shows_what_has_happened(page: Page, remote: Remote) -> None:
    usage = {
        "input_tokens": 1000,
        "cached_tokens": 750,
        "output_tokens": 20,
    }
    windows = {
        "x-codex-primary-used-percent": "42",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": "4102444800",
    }
    good = say(remote, "fine", usage=usage, headers=windows)
    assert remote("ask", marker=good, request_id="console-good") == 200
    failing = remote("play", script={"failure": "rate_limited"})
    assert remote("ask", marker=failing, request_id="console-failing") == 429
    assert remote("ask", marker=good, request_id="console-wrong", model="nobody") == 404
    opened(page, remote)

    expect(fact(page, "#child", "State")).to_have_text("ready")
    expect(fact(page, "#child", "Process")).to_have_text(str(remote("pid")))
    expect(page.locator("#child-history")).to_contain_text("ready")
    expect(page.locator("#load-tiles")).to_contain_text("Open streams1 of 256")
    expect(page.locator("#load-keys")).to_contain_text("default1")
    expect(page.locator("#first-words")).to_contain_text("p50")
    expect(page.locator("#first-plot circle.one, #first-plot polyline.one")).not_to_have_count(0)
    expect(page.locator("#duration-spread rect.bar")).not_to_have_count(0)
    expect(page.locator("#cache-words")).to_contain_text("input tokens")
    expect(fact(page, "#cache", "Kept threads")).to_contain_text("about")
    errors = page.locator("#errors-table tr")
    expect(errors.filter(has_text="rate_limit_exceeded")).to_contain_text("account")
    expect(errors.filter(has_text="model_not_found")).to_contain_text("clients")
    expect(page.locator("#errors-words")).to_contain_text("account 1")
    expect(page.locator("#account-limits")).to_contain_text("primary (5 h): 42 % used")
    expect(fact(page, "#worker", "Accepts")).to_have_text("this worker")
    expect(page.locator("#keys-words")).not_to_be_empty()
    expect(page.locator("#level-words")).to_have_text("Now info.")

    page.locator("#traces-table button", has_text="console-good").click()
    expect(page.locator("#trace")).to_contain_text("Request console-good")
    expect(page.locator("#trace")).to_contain_text("turn/start")
    expect(page.locator("#trace rect.bar")).not_to_have_count(0)
    page.locator("#errors-table button", has_text="console-wrong").click()
    expect(page.locator("#trace")).to_contain_text("There is no trace of this request")


def test_keys_are_shown_where_there_is_a_route_and_named_missing_where_not(
    page: Page, context: BrowserContext, remote: Remote
) -> None:
    def missing(route: Route) -> None:
        route.fulfill(status=404, json={"error": {"code": "unknown_url", "message": "no"}})

    context.route("**/internal/usage?days=7", missing)
    opened(page, remote)
    expect(page.locator("#keys-words")).to_have_text(
        "Not available: this gateway has no /internal/usage."
    )
    row = {"day": "2026-11-30", "key": "ann", "model": "gpt-5.5", "requests": 12, "errors": 1}
    row |= {"input_tokens": 34567, "cached_tokens": 3, "output_tokens": 4, "reasoning_tokens": 5}
    context.unroute("**/internal/usage?days=7")
    context.route(
        "**/internal/usage?days=7", lambda route: route.fulfill(json={"days": 7, "rows": [row]})
    )
    opened(page, remote)
    expect(page.locator("#keys-table")).to_contain_text("2026-11-30anngpt-5.512134,567345")


def test_a_killed_child_is_seen_with_the_next_polls(page: Page, remote: Remote) -> None:
    """There is one each second: the third after it is two seconds later at most."""
    opened(page, remote)
    generation = int(fact(page, "#child", "Generation").inner_text())
    history = page.locator("#child-history")
    expect(history).not_to_contain_text("signal")
    remote("kill_child")
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    expect(history).to_contain_text("exitedsignal 9")
    assert len([url for url in polls if url.endswith("/internal/status")]) <= 3
    expect(fact(page, "#child", "Generation")).to_have_text(str(generation + 1))
    expect(page.locator("#state-text")).to_have_text("Ready.")
    expect(fact(page, "#child", "Process")).to_have_text(str(remote("pid")))


def test_maintenance_says_who_and_why_and_opens_again(page: Page, remote: Remote) -> None:
    opened(page, remote)
    expect(fact(page, "#maintenance", "Set by")).to_contain_text("PROXY_MAINTENANCE_MODE")
    page.fill("#maintenance-reason", "We move the <b>database</b>.")
    page.click("#maintenance-begin")
    expect(page.locator("#maintenance-text")).to_have_text("In maintenance: /v1 is answered 503.")
    expect(fact(page, "#maintenance", "Set by")).to_contain_text("an operator")
    expect(fact(page, "#maintenance", "Reason")).to_have_text("We move the <b>database</b>.")
    expect(page.locator("#state-text")).to_have_text("In maintenance: We move the <b>database</b>.")
    assert remote("ask", marker=say(remote, "x"), request_id="closed") == 503
    page.click("#maintenance-end")
    expect(page.locator("#maintenance-text")).to_have_text("Open: /v1 is answered.")
    page.click("#maintenance-reset")
    expect(fact(page, "#maintenance", "Set by")).to_contain_text("PROXY_MAINTENANCE_MODE")
    expect(page.locator("#state-text")).to_have_text("Ready.")


def test_the_log_level_is_changed_and_said(page: Page, remote: Remote) -> None:
    opened(page, remote)
    for level, words in (
        ("debug", "Now debug; info after the next reload."),
        ("info", "Now info."),
    ):
        page.select_option("#level-choice", level)
        page.click("#level button")
        expect(page.locator("#level-words")).to_have_text(words)


# Trying it


def with_client_key(page: Page, remote: Remote) -> None:
    expect(page.locator("#try-own")).to_be_visible()
    page.fill("#try-key", remote.facts["key"])
    expect(page.locator("#try-model option", has_text="fast")).to_have_count(1)


def test_a_stream_is_shown_as_it_comes(page: Page, remote: Remote) -> None:
    opened(page, remote)
    with_client_key(page, remote)
    held = say(remote, "so far ", MARKUP, "the end", hold_after=2)
    page.select_option("#try-effort", "high")
    page.fill("#try-question", held)
    page.click("#try-ask")
    expect(page.locator("#try-answer")).to_have_text(f"so far {MARKUP}")
    expect(page.locator("#try-cost")).to_be_hidden()
    expect(page.locator("#load-tiles")).to_contain_text("Open streams1 of")
    remote("release", marker=held)
    expect(page.locator("#try-cost")).to_contain_text("tokens in")
    expect(page.locator("#try-answer")).to_have_text(f"so far {MARKUP}the end")
    expect(page.locator("#try-answer *")).to_have_count(0)
    page.locator("#try-raw summary").click()
    expect(page.locator("#try-frames")).to_contain_text('"delta"')


def test_a_stream_can_be_stopped_and_a_tool_is_called(page: Page, remote: Remote) -> None:
    opened(page, remote)
    with_client_key(page, remote)
    held = say(remote, "so far", " on", hold_after=1)
    page.fill("#try-question", held)
    page.click("#try-ask")
    expect(page.locator("#try-answer")).to_have_text("so far")
    page.click("#try-stop")
    expect(page.locator("#try-problem")).to_have_text("Stopped.")
    expect(page.locator("#try-ask")).to_be_focused()
    arguments = json.dumps({"city": "Oslo"})
    call = {"type": "function_call", "name": "get_weather", "call_id": "c", "arguments": arguments}
    page.fill("#try-question", remote("play", script={"items": [call]}))
    page.check("#try-tool")
    page.click("#try-ask")
    expect(page.locator("#try-calls")).to_have_text(f"get_weather {arguments}")
    expect(page.locator("#try-cost")).to_contain_text("tool_calls")


# Gone, and back


def test_a_gateway_that_stops_and_starts_again_is_seen(page: Page, remote: Remote) -> None:
    opened(page, remote)
    assert remote("stop") == 0
    try:
        expect(page.locator("#state-text")).to_have_text("The gateway does not answer.")
        expect(page.locator("#problem")).to_contain_text("No answer since")
        expect(fact(page, "#child", "State")).to_have_text("ready")  # what was seen last stays
    finally:
        remote("start")
    expect(page.locator("#state-text")).to_have_text("Ready.")
    expect(page.locator("#problem")).to_be_hidden()


def test_a_key_that_was_changed_locks_the_page_and_empties_it(page: Page, remote: Remote) -> None:
    opened(page, remote)
    remote("stop")
    remote("start", admin="sk-another-admin-key-0123456789")
    try:
        expect(page.locator("#problem")).to_contain_text("The key is no longer accepted")
        expect(page.locator("#panels")).to_be_hidden()
        live = page.locator("[data-live]")
        assert live.evaluate_all("nodes => nodes.map(n => n.textContent).join('')") == ""
        expect(page.locator("#key")).to_be_focused()
    finally:
        remote("stop")
        remote("start")


def test_an_answer_that_is_no_ones_is_said(
    page: Page, context: BrowserContext, remote: Remote
) -> None:
    opened(page, remote)
    context.route(
        "**/internal/status",
        lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad</h1>"),
    )
    expect(page.locator("#problem")).to_contain_text("502: the answer is not the gateway's.")
    context.unroute("**/internal/status")
    expect(page.locator("#problem")).to_be_hidden()


# What nobody can do to it


def poisoned(value: Any) -> Any:
    """The same document, with markup in place of every text."""
    if isinstance(value, dict):
        return {name: poisoned(member) for name, member in value.items()}
    if isinstance(value, list):
        return [poisoned(member) for member in value]
    return MARKUP if isinstance(value, str) else value


def test_markup_in_any_field_is_shown_as_text(
    page: Page, context: BrowserContext, remote: Remote
) -> None:
    assert remote("ask", marker=say(remote, "x"), request_id="poisoned-1") == 200
    assert remote("ask", marker="x", request_id="poisoned-2", model="nobody") == 404
    opened(page, remote)
    with_client_key(page, remote)

    def poison(route: Route) -> None:
        response = route.fetch()
        try:
            document = response.json()
        except ValueError:
            route.fulfill(response=response)
            return
        route.fulfill(response=response, json=poisoned(document))

    row = {"day": MARKUP, "key": MARKUP, "model": MARKUP, "requests": 1, "errors": 0}
    row |= {"input_tokens": 1, "cached_tokens": 1, "output_tokens": 1, "reasoning_tokens": 1}
    usage = {"days": 7, "rows": [row]}
    context.route("**/internal/usage**", lambda route: route.fulfill(json=usage))
    for path in ("status", "recent", "traces"):
        context.route(f"**/internal/{path}", poison)
    one = f"{remote.facts['url']}/internal/traces/poisoned-1"
    context.route(
        "**/internal/traces/*",
        lambda route: route.fulfill(json=poisoned(route.fetch(url=one).json())),
    )
    context.route("**/v1/models", poison)
    page.click("#lock")
    page.fill("#key", remote.facts["admin"])
    page.keyboard.press("Enter")
    for panel in (
        "#child-facts",
        "#child-history",
        "#errors-table",
        "#traces-table",
        "#worker-facts",
        "#keys-table",
    ):
        expect(page.locator(panel)).to_contain_text(MARKUP)
    expect(page.locator("#state-text")).to_contain_text(MARKUP)
    page.locator("#traces-table button").first.click()
    expect(page.locator("#trace")).to_contain_text(MARKUP)
    assert page.locator("main img, main b, main script").count() == 0
    assert page.title() != "taken"


def test_an_inline_script_in_the_page_does_not_run(browser: Browser, remote: Remote) -> None:
    with browser.new_context() as context:

        def inject(route: Route) -> None:
            response = route.fetch()
            injected = f"<script>document.title='taken'</script>{MARKUP}"
            route.fulfill(
                response=response, body=response.text().replace("<main", f"{injected}<main")
            )

        context.route("**/internal/console", inject)
        page = context.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        opened(page, remote)
        assert page.title() == "Ready: operator console"
        assert [text for text in refused if "Content Security Policy" in text]
        made = page.evaluate(
            "() => { try { document.body.innerHTML = '<b>x</b>'; return 'made' } catch (e) { return e.name } }"
        )
        assert made == "TypeError"  # Trusted Types


@pytest.mark.parametrize("has_headers", [True, False])
def test_another_page_cannot_frame_it(
    browser: Browser, remote: Remote, *, has_headers: bool
) -> None:
    """Without the headers it could: so it is they that forbid it."""

    def serve(route: Route) -> None:
        response = route.fetch()
        own = {name: text for name, text in response.headers.items() if name == "content-type"}
        route.fulfill(response=response, headers=response.headers if has_headers else own)

    outer = remote.facts["url"] + "/other"
    html = f'<title>other</title><iframe src="{address(remote)}"></iframe>'
    with browser.new_context() as context:
        context.route("**/internal/console", serve)
        context.route(outer, lambda route: route.fulfill(content_type="text/html", body=html))
        page = context.new_page()
        page.goto(outer)
        page.wait_for_load_state("networkidle")
        (frame,) = page.main_frame.child_frames
        assert frame.locator("#key").count() == (0 if has_headers else 1)


# Who uses it how


def test_it_is_used_with_the_keyboard_alone(page: Page, remote: Remote) -> None:
    page.goto(address(remote))
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type(remote.facts["admin"])
    page.keyboard.press("Enter")
    expect(page.locator("#child-title")).to_be_focused()

    def go_to(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("() => document.activeElement.id") == name:
                return
        pytest.fail(f"Tab does not lead to {name}")

    go_to("level-choice")
    page.keyboard.type("w")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#level-words")).to_contain_text("Now warning")
    go_to("maintenance-reason")
    page.keyboard.type("By keyboard.")
    page.keyboard.press("Enter")
    expect(fact(page, "#maintenance", "Reason")).to_have_text("By keyboard.")
    go_to("maintenance-reset")
    page.keyboard.press("Enter")
    expect(page.locator("#maintenance-text")).to_have_text("Open: /v1 is answered.")
    go_to("try-key")
    page.keyboard.type(remote.facts["key"])
    expect(page.locator("#try-model option")).not_to_have_count(0)
    go_to("try-question")
    page.keyboard.press("Control+A")
    page.keyboard.type(say(remote, "typed"))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#try-answer")).to_have_text("typed")
    page.select_option("#level-choice", "info")
    page.click("#level button")
    expect(page.locator("#level-words")).to_have_text("Now info.")


CONTRAST = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const colour = rgba(getComputedStyle(n).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  let seen = 0;
  for (const node of document.querySelectorAll('body *')) {
    if (!node.checkVisibility() || node.closest('option, datalist')) continue;
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const isField = /^(input|select|textarea)$/i.test(node.tagName);
    if (!own && !isField) continue;
    const style = getComputedStyle(node);
    const colour = rgba(node.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [a, b] = [light(colour), light(ground(node))].sort((x, y) => y - x);
    seen += 1;
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) poor.push([node.tagName, node.id, node.textContent.slice(0, 30), contrast.toFixed(2)]);
  }
  return [seen, poor];
}
"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", SIZES)
def test_it_is_readable_and_no_wider_than_the_window(
    browser: Browser, remote: Remote, scheme: Any, width: int
) -> None:
    assert remote("ask", marker=say(remote, "x"), request_id="width") == 200
    assert remote("ask", marker="x", request_id="width-wrong", model="nobody") == 404
    size: Any = {"width": width, "height": SIZES[width]}
    with browser.new_context(viewport=size, color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(address(remote))
        assert page.evaluate(CONTRAST)[1] == []
        opened(page, remote)
        page.locator("#traces-table button", has_text="width").first.click()
        expect(page.locator("#trace")).to_contain_text("turn/start")
        expect(page.locator("#errors-table")).to_contain_text("model_not_found")
        seen, poor = page.evaluate(CONTRAST)
        assert seen > 100
        assert poor == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for node in page.locator("main .card").all():
            box = node.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width
