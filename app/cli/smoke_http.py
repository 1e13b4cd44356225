"""HTTP client of `codex smoke`: a deployment as its clients see it; what goes wrong on the way is a sentence.

Redirects are not followed and `.netrc` is not read: the key goes to the address that was given, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import requests
from requests import exceptions
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from app.cli.exit_codes import without_secrets

CHECK_PROXY = "Look at the proxy in between, and at the address."
_BLOCK_BYTES = 65_536
_MOST_BYTES = 8 * 1024 * 1024


class CheckFailed(Exception):
    """Something is not as it must be: a sentence, and what to do."""

    def __init__(self, sentence: str, remedy: str = CHECK_PROXY) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `head_ms` is the time to its head, which the gateway sends with the first frame of a stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    head_ms: int = 0

    def json(self) -> Any:
        """Return the body, parsed. Raises `CheckFailed`."""
        try:
            return orjson.loads(self.body)
        except ValueError:
            kind = self.headers.get("Content-Type", "nothing")
            raise CheckFailed(f"{self.status}, and the body is no JSON ({kind}).") from None

    def error(self) -> Mapping[str, Any]:
        """Return the inside of the error envelope. Raises `CheckFailed`."""
        body = self.json()
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict):
            raise CheckFailed(f"{self.status} without the error envelope.")
        return error


@dataclass(frozen=True, slots=True)
class Deployment:
    """One gateway somewhere. `timeout_s` bounds each request, from its first byte to its last."""

    address: str
    key: str = field(repr=False)
    timeout_s: float

    def send(
        self, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> Answer:
        """GET, or POST a JSON body; with the deployment's key unless another is given. Blocks; raises `CheckFailed`."""

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            """Set the key, or none: given a callable, `requests` does not read `.netrc`."""
            if sent := self.key if key is None else key:
                request.headers["Authorization"] = f"Bearer {sent}"
            return request

        began = time.monotonic()
        try:
            with requests.request(
                "GET" if body is None else "POST",
                self.address + path,
                json=body,
                headers={name.replace("_", "-"): value for name, value in headers.items()},
                auth=authorize,
                timeout=self.timeout_s,
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._receive(response, began)
        except (requests.RequestException, HTTPError) as error:
            raise self._failure(error) from None

    def _receive(self, response: requests.Response, began: float) -> Answer:
        """Read to the end; `requests` itself bounds only the silence between two pieces."""
        if response.is_redirect:
            sentence = f"{response.status_code}: it sends its callers to another address."
            raise CheckFailed(sentence, "Give the final address; the key is not sent on.")
        body = bytearray()
        while piece := response.raw.read1(_BLOCK_BYTES, decode_content=True):
            body += piece
            if time.monotonic() - began > self.timeout_s:
                raise requests.Timeout
            if len(body) > _MOST_BYTES:
                raise CheckFailed("The answer does not end.")
        head_ms = round(response.elapsed.total_seconds() * 1000)
        return Answer(response.status_code, response.headers, bytes(body), head_ms)

    def _failure(self, error: Exception) -> CheckFailed:
        """Return the sentence for a failure of `requests`, or of the library below it while the body is read."""
        match error:
            case exceptions.Timeout() | ReadTimeoutError():
                sentence = f"No whole answer within {self.timeout_s:g} seconds."
                remedy = "Give more time with --timeout; look at the gateway's log."
            case exceptions.SSLError():
                sentence = f"No TLS with this address ({_innermost(error)})."
                remedy = "Check its certificate; REQUESTS_CA_BUNDLE names an authority of your own."
            case exceptions.ProxyError():
                sentence = "The proxy of this shell does not lead there."
                remedy = "Check HTTPS_PROXY and NO_PROXY."
            case exceptions.ChunkedEncodingError() | ProtocolError():
                sentence = "The connection broke off in the middle of the answer."
                remedy = "Look at the proxy's limits and at the gateway's log."
            case _:
                sentence = f"Nobody answers at {self.address} ({_innermost(error)})."
                remedy = "Check the address; on its host: curl $BASE/livez."
        return CheckFailed(sentence, remedy)


def _innermost(error: BaseException) -> str:
    """Return the first cause in a word: what surrounds it quotes addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return without_secrets(error.strerror)
    return type(error).__name__
