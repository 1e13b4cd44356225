"""Pictures of the README and of the pages, made anew from running services: `make pictures`.

Everything that they show was served: the first minute and the page at `/` by a gateway with the built-in demo, the
console by one with the scripted upstream, a known mix of answers, and a child that is killed once.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Page, expect, sync_playwright

from scripts.pictures import diagram, first_minute, recording
from tests.separate_service import Remote, started

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
BROWSERS = ("chromium", "google-chrome", "chromium-browser")
SIZE = {"width": 1280, "height": 944}
MIX_S = 200
CLIENTS = 4
"""The mix of the console: so long, by so many clients at once."""


def main() -> int:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    page_css = (ROOT / "app/api/home/home.css").read_text()
    write("architecture.svg", diagram.drawn(page_css))
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        print(f"None of {', '.join(BROWSERS)} is installed.", file=sys.stderr)
        return 1
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=path)
        with first_minute.done(Path(folder)) as minute:
            write("first-minute.svg", recording.drawn(minute.panes, page_css))
            take_home(browser, minute.url, minute.key)
        with started(ROOT / "tests/browser/console_service.py") as process:
            take_console(browser, Remote(process))
        browser.close()
    return 0


def write(name: str, text: str) -> None:
    """Write a drawn picture."""
    (FOLDER / name).write_text(text)
    print(f"docs/pictures/{name}")


def shoot(page: Page, name: str) -> None:
    """Take what is in the window, in both schemes."""
    page.evaluate("document.activeElement.blur()")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.screenshot(path=FOLDER / f"{name}-{scheme}.png")
        print(f"docs/pictures/{name}-{scheme}.png")


def take_home(browser: Browser, url: str, key: str) -> None:
    """Ask something on the page at `/`, and take it."""
    page = browser.new_page(viewport=SIZE)
    page.goto(url + "/")
    page.fill("#key", key)
    expect(page.locator("#state-text")).to_have_text("Ready.")
    page.click("#ask")
    expect(page.locator("#cost")).to_contain_text("tokens", timeout=30_000)
    shoot(page, "home")
    page.close()


def take_console(browser: Browser, remote: Remote) -> None:
    """Open the console, let clients ask for some minutes, and take its upper part while they do."""
    page = browser.new_page(viewport=SIZE)
    page.goto(remote.facts["url"] + "/internal/console")
    page.fill("#key", remote.facts["admin"])
    page.keyboard.press("Enter")
    expect(page.locator("#state-text")).to_have_text("Ready.", timeout=30_000)
    scripts = mix(remote)
    until = time.monotonic() + MIX_S
    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [
            clients.submit(ask_on, remote.facts, scripts, number, until)
            for number in range(CLIENTS)
        ]
        page.wait_for_timeout(MIX_S * 250)
        remote("kill_child")
        page.wait_for_timeout(MIX_S * 700)
        shoot(page, "console")
    page.close()
    for client in asking:
        client.result()


def mix(remote: Remote) -> list[str]:
    """Return the markers of the answers that clients get: short and long ones, and one failure in twenty-three."""
    answers: list[Any] = [
        {
            "items": [{"type": "message", "deltas": ["word "] * words}],
            "delay_ms": first_ms,
            "interval_ms": 25,
        }
        for words, first_ms in ((20, 120), (60, 250), (140, 400), (40, 700))
    ]
    failures = [{"failure": "rate_limited"}, {"failure": "server_error"}]
    markers = [remote("play", script=script) for script in answers * 11 + failures]
    return [str(marker) for marker in markers]


def ask_on(facts: dict[str, str], markers: list[str], number: int, until: float) -> None:
    """Ask for one streamed answer after the other, as one client of several."""
    dice = random.Random(number)  # noqa: S311  (seeded: the same mix each time)
    key = facts["key"] if number % 2 else facts["second"]
    while time.monotonic() < until:
        question = {"role": "user", "content": dice.choice(markers)}
        body = {"model": "gpt-5.5", "stream": True, "messages": [question]}
        request = Request(  # noqa: S310  (an address of ours)
            facts["url"] + "/v1/chat/completions",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310
                answer.read()
        except HTTPError as error:
            error.close()
        time.sleep(dice.uniform(0.1, 3))


if __name__ == "__main__":
    sys.exit(main())
