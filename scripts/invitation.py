"""Invitation to try the service: its address, and a curl line to paste, printed once it answers.

The key is printed here and nowhere else: the service's own output is its log.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

import psutil

from app.cli.running_gateway import address_of, listening_ports
from app.settings import Settings

_PATIENCE_S = 120
_PAUSE_S = 0.2
_ANSWER_S = 30
_LOG_S = 0.3
"""How long the last lines of the log may take that an answer brings about: the invitation comes after them."""


def begin_waiting(settings: Settings) -> None:
    """Start a process that prints the invitation for this one, which becomes the service. It ends by itself.

    It is no child of the service, which would have to collect it.
    """
    service = psutil.Process()
    if os.fork() == 0:
        try:
            if os.fork() == 0:
                signal.signal(
                    signal.SIGINT, signal.SIG_DFL
                )  # Ctrl-C in the terminal is for it, too
                wait_and_invite(service, settings)
        finally:
            os._exit(0)
    os.wait()


def wait_and_invite(service: psutil.Process, settings: Settings) -> None:
    """Print the invitation when the service answers; nothing if it ends before. Blocks."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        port = listening_port(service)
        status, answer = ask_for_models(settings, port) if port else (0, {})
        is_maintained = answer.get("error", {}).get("code") == "MAINTENANCE"
        if status == HTTPStatus.OK or is_maintained:
            time.sleep(_LOG_S)
            address = address_of(settings.host, port)
            model = "" if is_maintained else answer["data"][0]["id"]
            print(invitation(address, settings.api_key, model), flush=True)
            return
        time.sleep(_PAUSE_S)
        if not service.is_running():
            return
    print("\nThe gateway does not answer yet; its log says why.", flush=True)


def listening_port(service: psutil.Process) -> int:
    """Return the port that the service or its child listens on, 0 if none is open yet."""
    try:
        family = (service, *service.children())
    except psutil.Error:
        return 0  # it has just ended
    return next((port for process in family for port in listening_ports(process)), 0)


def ask_for_models(settings: Settings, port: int) -> tuple[int, dict[str, Any]]:
    """Return status and answer of the list of models, which waits for codex; 0 without an answer."""
    host = address_of(settings.host, port).removeprefix("http://").rpartition(":")[0]
    connection = HTTPConnection(host.strip("[]"), port, timeout=_ANSWER_S)
    try:
        headers = {"Authorization": f"Bearer {settings.api_key}"}
        connection.request("GET", "/v1/models", headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()


def invitation(address: str, key: str, model: str) -> str:
    """Return the address and a curl line that streams an answer; without a model, that it is in maintenance."""
    begin = f"\nThe gateway serves on {address} (Ctrl-C ends it)."
    if not model:
        return f"{begin} It is in maintenance: requests are answered 503."
    question = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello! Who answers here?"}],
    }
    return (
        f"{begin} To see an answer stream, paste:\n\n"
        f"curl -N {shlex.quote(f'{address}/v1/chat/completions')} \\\n"
        f"  -H {shlex.quote(f'Authorization: Bearer {key}')} \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(question))}\n"
    )
