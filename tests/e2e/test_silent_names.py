"""Images whose names nobody answers for: they delay no image of another key, and may be asked for again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.gateway_pool import SECOND_KEY
from tests.e2e.harness import DEADLINE_S, MODEL, ROOT, Gateway, wait_until

SHARE = 12
"""Names of one key that are looked up at once; a worker's other threads were 10."""

NAMED_HERE = "http://localhost/x.png"
"""Found without asking a server, and then refused: no public address."""


def with_image(url: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    return {"model": MODEL, "messages": [{"role": "user", "content": parts}]}


def look(gateway: Gateway, url: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {SECOND_KEY}"}
    url_of_chat = f"{gateway.url}/v1/chat/completions"
    return requests.post(url_of_chat, json=with_image(url), headers=headers, timeout=2 * DEADLINE_S)


@contextmanager
def greedy_one(gateway: Gateway) -> Iterator[list[Future[requests.Response]]]:
    """Let the second key ask for an image of each of many silent names."""
    with ThreadPoolExecutor(SHARE) as pool:
        yield [pool.submit(look, gateway, f"http://name{n}.silent/x.png") for n in range(SHARE)]


def hold_up_nobody(gateway: Gateway, are_asked: Callable[[], Any]) -> None:
    """Expect that another key's name is looked up while the silent ones keep their threads."""
    with greedy_one(gateway) as greedy:
        wait_until(are_asked, "every silent name is looked up")
        mine = gateway.post(with_image(NAMED_HERE))
        assert mine.status_code == 400
        answers = [future.result() for future in greedy]
    assert {answer.status_code for answer in answers} == {408}
    for answer in answers:
        error = answer.json()["error"]
        assert (error["code"], error["retryable"]) == ("IMAGE_TIMEOUT", True)
        assert answer.headers["x-should-retry"] == "true"


def test_silent_names_of_one_key_delay_no_image_of_another(
    make_gateway: Any, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    asked.mkdir()
    gateway = make_gateway(
        PROXY_API_KEYS=f"second={SECOND_KEY}",
        PROXY_FETCH_IMAGES="true",
        PYTHONPATH=str(ROOT / "tests" / "fakes" / "silent_names"),
        SILENT_NAMES=str(asked),
    )
    try:
        hold_up_nobody(gateway, lambda: len(list(asked.iterdir())) == SHARE)
    finally:
        (asked / "answers").touch()


@pytest.mark.system
def test_so_it_is_with_a_real_name_server_that_is_silent(make_gateway: Any, tmp_path: Path) -> None:
    """The gateway has a `resolv.conf` of its own, in a mount namespace: needs root, and port 53."""
    own = tmp_path / "resolv.conf"
    own.write_text("nameserver 127.0.0.153\n")
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.153", 53))
        server.setblocking(False)
        names: set[bytes] = set()

        def are_asked() -> bool:
            while True:
                try:
                    names.add(server.recv(512)[13:].partition(b"\x06silent")[0])
                except BlockingIOError:
                    return len(names) == SHARE

        inner = f'mount --bind {own} /etc/resolv.conf && exec "$@"'
        gateway = make_gateway(
            starter=f"exec unshare --mount sh -c '{inner}' sh \"$@\"",
            PROXY_API_KEYS=f"second={SECOND_KEY}",
            PROXY_FETCH_IMAGES="true",
        )
        hold_up_nobody(gateway, are_asked)
