"""Text arrives byte for byte and delta for delta. The earlier service lost characters: "hel" + "lo" became "helo"."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT, Gateway, Upstream, ask, end, start_gateway
from tests.e2e.raw_http import stream_frames

PIECES = (
    *(
        "a",
        "ha",
        "ha",
        "l",
        "lo",
        "hel",
        "lo",
        "0",
        "00",
        "10",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\t",
    ),
    *(
        "e",
        "\u0301",
        "\u0327",
        "\u200d",
        "\U0001f469",
        "\U0001f680",
        "\ufe0f",
        "\U0001f1e9",
        "\U0001f1ea",
    ),
    *(
        "data:",
        "data: [DONE]",
        "event: x",
        ": keepalive",
        "\n\ndata: {}",
        "id: 1",
        "\\",
        '"',
        "\\u0000",
        "</s>",
    ),
    *(
        "\x00",
        "\x01",
        "\x7f",
        "\x85",
        "\u2028",
        "\u2029",
        "\ufeff",
        "\ufffd",
        "\U0010ffff",
        "ß",
        "漢",
        "字",
    ),
)


def random_deltas(seed: int, count: int) -> list[str]:
    dice = random.Random(seed)
    return ["".join(dice.choices(PIECES, k=dice.choice([1, 1, 1, 2, 5]))) for _ in range(count)]


def check(gateway: Gateway, upstream: Upstream, deltas: list[str], **script: object) -> None:
    marker = upstream.say(*deltas, **script)
    _, frames = stream_frames(gateway, ask(marker))
    contents = [f["choices"][0]["delta"].get("content") for f in frames[1:-2]]
    assert contents == deltas
    whole = gateway.post(ask(marker)).json()["choices"][0]["message"]["content"]
    assert whole == "".join(deltas)


@pytest.mark.parametrize("seed", range(3))
def test_two_thousand_random_deltas(gateway: Gateway, upstream: Upstream, seed: int) -> None:
    check(gateway, upstream, random_deltas(seed, 2000))


def test_the_upstreams_bytes_may_be_split_anywhere(gateway: Gateway, upstream: Upstream) -> None:
    check(gateway, upstream, random_deltas(10, 300), split="bytes", seed=3)


def test_deltas_that_come_one_by_one(gateway: Gateway, upstream: Upstream) -> None:
    check(gateway, upstream, random_deltas(11, 100), interval_ms=2)


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway whose child's bytes come in random pieces."""
    shim: Path = ROOT / "tests" / "fakes" / "split_line_codex.py"
    folder = tmp_path_factory.mktemp("torn")
    wrapper = folder / "codex"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{shim}" "$@"\n')
    wrapper.chmod(0o755)
    running = start_gateway(folder, upstream, CODEX_BIN=str(wrapper))
    running.wait_ready()
    yield running
    end(running)


def test_the_childs_bytes_may_be_split_anywhere(torn: Gateway, upstream: Upstream) -> None:
    check(torn, upstream, random_deltas(12, 2000))
