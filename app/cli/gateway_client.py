"""HTTP client of a gateway, here or anywhere; what goes wrong on the way is a sentence.

Redirects are not followed and `.netrc` is not read: a key goes to the address that was given, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import orjson
import requests

from app.cli.exit_codes import CheckFailed
from app.scrub import without_secrets

CHECK_PROXY = "Look at the proxy in between, and at the address."
ANSWER_S = 2.0
"""How long a gateway on this machine may take for a whole answer of its own."""
_BLOCK_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `head_ms` is the time to its head, which the gateway sends with the first frame of a stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    head_ms: int

    @property
    def request_id(self) -> str:
        """The id under which the gateway's log has the request; empty if there is none."""
        return self.headers.get("X-Request-Id", "")

    def good(self) -> Answer:
        """Return the answer itself. Raises `CheckFailed` where its status is not 200, with the error in it."""
        if self.status != HTTPStatus.OK:
            said = self.json()
            raise self.failure(
                str(self.status), said.get("error") if isinstance(said, Mapping) else said
            )
        return self

    def json(self) -> Any:
        """Return the body, parsed. Raises `CheckFailed`."""
        try:
            return orjson.loads(self.body)
        except ValueError:
            kind = self.headers.get("Content-Type", "nothing")
            sentence = f"{self.status}, and the body is no JSON ({kind})."
            raise CheckFailed(sentence, CHECK_PROXY) from None

    def failure(self, where: str, error: Any) -> CheckFailed:
        """Return an error of the gateway's, with the id that its log has. Other servers have errors of other forms."""
        if not isinstance(error, Mapping):
            error = {"message": error}
        said = without_secrets(str(error.get("message")))
        known_as = f" (request {self.request_id})" if self.request_id else ""
        remedy = "docs/errors.md says what to do about this code."
        return CheckFailed(f"{where} {error.get('code')}: {said}{known_as}", remedy)


@dataclass(frozen=True, slots=True)
class GatewayClient:
    """One gateway. `timeout_s` bounds each request, from its first byte to its last; `direct` is without a proxy.

    `session` is where `keeping_connection` keeps its connection; without one each request has its own.
    """

    address: str
    key: str = field(default="", repr=False)
    timeout_s: float = ANSWER_S
    direct: bool = False
    session: requests.Session | None = field(default=None, repr=False)

    @contextmanager
    def keeping_connection(self) -> Iterator[GatewayClient]:
        """Return a client whose requests share one connection, as long as the server keeps it. For one thread."""
        with requests.Session() as session:
            yield replace(self, session=session)

    def send(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "",
        key: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """GET, or POST a JSON body; with the client's key unless another is given. Blocks; raises `CheckFailed`."""
        with self._exchange(path, body, method, key, request_id) as response:
            return self._receive(response)

    def events(self, path: str, body: Any) -> Iterator[Any]:
        """POST a JSON body; yield the objects of the server-sent events until `[DONE]`, each as soon as it is there.

        `timeout_s` bounds each silence. Blocks; raises `CheckFailed`, also where the stream breaks off.
        """
        with self._exchange(path, body) as response:
            if response.status_code != HTTPStatus.OK or response.is_redirect:
                self._receive(response).good()
            for line in response.iter_lines(chunk_size=None):
                if line == b"data: [DONE]":
                    return
                if line.startswith(b"data: "):
                    yield _parsed(line[6:])
        raise CheckFailed("The stream broke off before its end.", CHECK_PROXY)

    @contextmanager
    def _exchange(
        self,
        path: str,
        body: Any = None,
        method: str = "",
        key: str | None = None,
        request_id: str | None = None,
    ) -> Iterator[requests.Response]:
        """Send a request and lend its response, of which the head has come."""
        sent_key = self.key if key is None else key
        authorization = f"Bearer {sent_key}" if sent_key else None
        with nullcontext(self.session) if self.session else requests.Session() as session:
            session.trust_env = not self.direct
            try:
                yield session.request(
                    method or ("GET" if body is None else "POST"),
                    self.address + path,
                    json=body,
                    headers={"Authorization": authorization, "X-Request-Id": request_id},
                    auth=unchanged,
                    timeout=self.timeout_s,
                    allow_redirects=False,
                    stream=True,
                )
            except requests.RequestException as error:
                raise CheckFailed(
                    f"No whole answer from {self.address} within {self.timeout_s:g} seconds: {cause_of(error)}.",
                    "Check the address, its certificate, HTTPS_PROXY; ask, smoke and parity take --timeout.",
                ) from None

    def _receive(self, response: requests.Response) -> Answer:
        """Read to the end; `requests` itself bounds only the silence between two pieces."""
        if response.is_redirect:
            sentence = f"{response.status_code}: it sends its callers to another address."
            raise CheckFailed(sentence, "Give the final address; the key is not sent on.")
        deadline = time.monotonic() + self.timeout_s
        body = bytearray()
        for piece in response.iter_content(_BLOCK_BYTES):
            body += piece
            if time.monotonic() > deadline:
                raise requests.Timeout
        head_ms = round(response.elapsed.total_seconds() * 1000)
        return Answer(response.status_code, response.headers, bytes(body), head_ms)


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        raise CheckFailed("A frame of the stream is no JSON.", CHECK_PROXY) from None


def unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand for `auth`: `requests` then does not read `.netrc`."""
    return request


def cause_of(error: BaseException) -> str:
    """Return an error's first cause in a word or two: what surrounds it quotes addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return without_secrets(error.strerror)
    return type(error).__name__
