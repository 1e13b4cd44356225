"""`codex ask`: a question to a running gateway, whose answer is printed as it streams. Pipes work on both ends.

Without --url it is the gateway of this checkout, and its own key. To another host a key goes as `codex smoke` sends it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import click

from app.cli.exit_codes import CheckFailed, Exit, give_up, shown
from app.cli.gateway_client import CHECK_PROXY, GatewayClient
from app.cli.running_gateway import client_of, pid_of
from app.cli.smoke import KEY, address_of, is_key, key_from
from app.codex.home import Home
from app.settings import load_settings

_CHAT = "/v1/chat/completions"
_INTERRUPTED = 130  # 128 + SIGINT, as shells say it


@dataclass(slots=True)
class Told:
    """What the frames of an answer said beside its text: how it ended, and what it cost."""

    finish_reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> str:
        """Return one line for a person: the model, the tokens, the times, and an end that is not the usual one."""
        facts = [str(self.metadata.get("model") or "")]
        if self.usage:
            facts.append(
                f"{self.usage.get('prompt_tokens')} + {self.usage.get('completion_tokens')} tokens"
            )
        if self.metadata:
            first, whole = self.metadata.get("ttft_ms"), self.metadata.get("duration_ms")
            facts.append(f"first after {first} ms, all after {whole} ms")
        if self.finish_reason != "stop":
            facts.append(f"finish_reason {self.finish_reason or 'unknown'}")
        return " · ".join(filter(None, facts))


@click.command("ask")
@click.argument("words", nargs=-1, metavar="[QUESTION]")
@click.option("--model", default="", help="Default: the first model that is listed.")
@click.option("--effort", default="", help="How hard it thinks: low, medium, high …")
@click.option("--system", default="", metavar="TEXT", help="Instructions before the question.")
@click.option("--reasoning", is_flag=True, help="Show the model's reasoning, on standard error.")
@click.option("--url", default="", help="Another gateway. Its key: PROXY_API_KEY, or --key-env.")
@click.option("--key-env", show_default=KEY, help="The variable with the key.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 3600),
    default=300.0,
    show_default=True,
    help="Seconds of silence before it gives up.",
)
def ask(
    *,
    words: tuple[str, ...],
    model: str,
    effort: str,
    system: str,
    reasoning: bool,
    url: str,
    key_env: str | None,
    timeout_s: float,
) -> None:
    """Ask a running gateway, and print the answer as it comes.

    What is piped in follows the question: git diff | … codex ask "What does this change?"
    """
    question = "\n\n".join(filter(None, (" ".join(words).strip(), _piped(sys.stdin))))
    if not question:
        give_up("Ask something: codex ask 'Which day is it?', or pipe a text in.", Exit.USAGE)
    if not _is_unicode(question):
        give_up("The question is no text in UTF-8.", Exit.USAGE)
    gateway = gateway_at(url, key_env, timeout_s)
    body = request_body(model or _first_model(gateway), question, system=system, effort=effort)
    told = Told()
    try:
        for text, is_thought in texts(gateway.events(_CHAT, body), told):
            if reasoning or not is_thought:
                _print(text, sys.stderr if is_thought else sys.stdout)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(_INTERRUPTED) from None
    finally:
        if _is_terminal(sys.stdout):
            click.echo()
    if _is_terminal(sys.stderr):
        click.secho(shown(told.summary()), dim=True, err=True)


def request_body(model: str, question: str, *, system: str, effort: str) -> dict[str, Any]:
    """Return the streamed chat completion that asks."""
    instructions = [{"role": "system", "content": system}] if system else []
    return {
        "model": model,
        "messages": [*instructions, {"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"reasoning_effort": effort} if effort else {}),
    }


def _is_unicode(text: str) -> bool:
    """Return False for a text with bytes that stand for none: Python lets them pass in some locales."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; one that was closed before the start is None."""
    return stream is not None and stream.isatty()


def _piped(stream: TextIO | None) -> str:
    """Return what is piped in, all of it; empty at a terminal. Blocks."""
    if stream is None or stream.isatty():
        return ""
    try:
        return stream.read().strip()
    except UnicodeDecodeError:
        give_up("Standard input is no text.", Exit.USAGE)


def gateway_at(url: str, key_env: str | None, timeout_s: float) -> GatewayClient:
    """Return the gateway at an address, or this checkout's own. Ends the command where there is none."""
    if url:
        try:
            address = address_of(url)
        except ValueError as error:
            give_up(f"This is no address to ask: {error}.", Exit.USAGE)
        key = key_from(key_env or KEY, address, was_named=key_env is not None, options="--key-env")
        if not is_key(key):
            give_up(f"{key_env or KEY} is empty or holds what no header can hold.", Exit.USAGE)
        return GatewayClient(address, key, timeout_s)
    settings = load_settings()
    if (pid := pid_of(Home(settings.codex_home).pid_file)) is None:
        give_up("No gateway runs with this CODEX_HOME. Start it (make run), or give --url.")
    return client_of(pid, settings, settings.api_key, timeout_s)


def _first_model(gateway: GatewayClient) -> str:
    listed = gateway.send("/v1/models").good().json()
    try:
        return str(listed["data"][0]["id"])
    except (KeyError, IndexError, TypeError):
        raise CheckFailed("The gateway lists no model.", "Give one: --model.") from None


def texts(frames: Iterator[Any], told: Told) -> Iterator[tuple[str, bool]]:
    """Yield pieces of the answer, and whether each is reasoning; note in `told` what else is said.

    Raises `CheckFailed` with the error that a stream ends with.
    """
    for frame in frames:
        try:
            yield from _taken(frame, told)
        except (AttributeError, TypeError):
            raise CheckFailed(
                "A frame of the stream is no chunk of an answer.", CHECK_PROXY
            ) from None


def _taken(frame: Any, told: Told) -> list[tuple[str, bool]]:
    if error := frame.get("error"):
        raise CheckFailed(
            f"{error.get('code')}: {error.get('message')}",
            "docs/errors.md says what to do about this code.",
        )
    told.usage = frame.get("usage") or told.usage
    told.metadata = frame.get("codex_metadata") or told.metadata
    pieces = []
    for choice in frame.get("choices") or ():
        told.finish_reason = choice.get("finish_reason") or told.finish_reason
        delta = choice.get("delta") or {}
        if thought := delta.get("reasoning_content"):
            pieces.append((str(thought), True))
        if text := delta.get("content") or delta.get("refusal"):
            pieces.append((str(text), False))
    return pieces


def _print(text: str, stream: TextIO | None) -> None:
    """Print a piece at once; at a terminal without what could steer it. Nothing where the stream is closed."""
    if stream is None:
        return
    stream.write(shown(text) if stream.isatty() else text)
    stream.flush()
