"""The pictures that README and pages show: they are there, load nothing, run nothing, and have the pages' colours."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from app.settings import ROOT
from scripts.pictures import diagram, palette
from scripts.pictures.recording import COLUMNS, Pane, Written, drawn

FOLDER = ROOT / "docs" / "pictures"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SVGS = sorted(FOLDER.glob("*.svg"))
CSS = (ROOT / "app/api/home/home.css").read_text()
ELEMENTS = {"svg", "title", "style", "defs", "marker", "path", "rect", "text", "g"}
KEY = "sk-local-" + "x_-Y" * 8


def elements(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter())  # noqa: S314  (ours)


def shown(path: Path) -> set[Path]:
    """The pictures that a page shows."""
    text = path.read_text()
    named = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text)
    named += re.findall(r'\b(?:src|srcset)="([^"]+)"', text)
    return {(path.parent / name).resolve() for name in named if name.endswith((".png", ".svg"))}


def test_every_picture_that_is_shown_exists_and_every_one_that_exists_is_shown() -> None:
    everything = {picture for page in PAGES for picture in shown(page)}
    assert {picture for picture in everything if not picture.is_file()} == set()
    assert {path for path in everything if path.parent == FOLDER} == set(FOLDER.iterdir())
    assert len(shown(ROOT / "README.md")) == 6
    assert FOLDER / "console-light.png" in shown(ROOT / "docs/operations/console.md")
    assert FOLDER / "architecture.svg" in shown(ROOT / "docs/architecture.md")


def test_each_picture_says_in_words_what_it_shows() -> None:
    for page in PAGES:
        text = page.read_text()
        for words in re.findall(r"!\[([^\]]*)\]\(", text) + re.findall(r"<img[^>]*>", text):
            found = re.search(r'alt="([^"]*)"', words)
            assert len(found[1] if found else words) > 10, page.name


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.png")), ids=lambda path: path.name)
def test_a_screenshot_is_small(path: Path) -> None:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20]) == 1280
    assert len(data) <= 200 * 1024


@pytest.mark.parametrize("path", SVGS, ids=lambda path: path.name)
def test_a_drawing_runs_nothing_and_loads_nothing(path: Path) -> None:
    for element in elements(path.read_text()):
        assert element.tag.removeprefix("{http://www.w3.org/2000/svg}") in ELEMENTS
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert not name.endswith(("href", "src"))
            assert "url(" not in value or value.startswith("url(#")
        if element.tag.endswith("style"):
            assert not re.search(r"url\(|@import|@font-face|://", element.text or "")


@pytest.mark.parametrize("path", SVGS, ids=lambda path: path.name)
def test_a_drawing_has_the_colours_of_the_page_in_both_schemes(path: Path) -> None:
    text = path.read_text()
    style = palette.style(CSS)
    assert style in text
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b", text.replace(style, ""))
    light, dark = palette.schemes(CSS)
    assert set(light) == set(dark) == set(palette.NAMES)
    assert all(light[name] != dark[name] for name in palette.NAMES)


def test_the_diagram_is_what_its_table_says() -> None:
    assert (FOLDER / "architecture.svg").read_text() == diagram.drawn(CSS)


def test_no_key_and_no_folder_of_a_machine_is_in_the_recording() -> None:
    text = (FOLDER / "first-minute.svg").read_text()
    assert "sk-local-…" in text
    assert not re.search(r"sk-local-\w|/tmp/|/home/|/root/", text)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in elements(svg) if element.get("textLength")]


def test_keys_are_masked_however_they_came() -> None:
    parts = [Written(0, f"-H 'Bearer {KEY[:12]}"), Written(1, f"{KEY[12:]}'\r\n")]
    assert texts(drawn([Pane("p", 3, parts)], CSS)) == ["-H 'Bearer sk-local-…'"]


def test_lines_go_on_in_the_next_row_and_frames_are_shortened() -> None:
    frame = 'data: {"id":"chatcmpl-1","object":"x","choices":[{"delta":{}}]}\r\n\r\n'
    written = [Written(0, "y" * (COLUMNS + 3) + "\r\n"), Written(1, frame), Written(2, "\r\n$ ")]
    expected = ["y" * COLUMNS, "yyy", 'data: {…"choices":[{"delta":{}}]}', "$"]
    assert texts(drawn([Pane("p", 9, written)], CSS)) == expected


def test_a_terminals_manners_become_classes() -> None:
    svg = drawn([Pane("p", 3, [Written(0, "\x1b[2m12:00\x1b[0m <b>\x1b[33mlate\x1b[0m\r\n")])], CSS)
    assert re.findall(r'class="(\w+) t30"|class="(t30)"', svg) == [
        ("soft", ""),
        ("", "t30"),
        ("wait", ""),
    ]
    assert "&lt;b&gt;" in svg


def test_pauses_are_cut_and_motion_is_for_those_who_want_it() -> None:
    svg = drawn([Pane("p", 1, [Written(5, "a\r\n"), Written(500, "b\r\n")])], CSS)
    assert "@keyframes t130{" in svg  # 0.3 s, and one of the 495
    before, _, after = svg.partition("@media (prefers-reduced-motion:no-preference){")
    assert "animation" not in before
    assert "animation" in after
    assert '<g id="pane0" transform="translate(0 -17)">' in svg  # without motion: the end


def test_the_page_for_contributors_names_the_command() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Test")[1].split("\n\n")[1]
    assert "| `make pictures` |" in table
    assert re.search(r"^pictures: .*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
