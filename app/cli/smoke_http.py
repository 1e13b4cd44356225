"""HTTP for `codex smoke`: a deployment as its clients see it, and what went wrong on the way as sentences.

Redirects are not followed and `.netrc` is not read: the key goes to the address that was given, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.auth import AuthBase
from urllib3.exceptions import ReadTimeoutError

from app.cli.exit_codes import without_secrets

_MOST_BYTES = 8 * 1024 * 1024
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Finding(Exception):
    """Something is not as it must be: a sentence, and what to do."""

    def __init__(self, sentence: str, remedy: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `first_ms` is the time to its first byte after the head, or to its end if there was none."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    first_ms: int = 0

    @property
    def request_id(self) -> str:
        """The id under which the gateway's log has the request; empty if there is none."""
        return self.headers.get("X-Request-Id", "")

    def json(self) -> Any:
        """Return the body, parsed; raises `Finding`."""
        try:
            return orjson.loads(self.body)
        except ValueError:
            kind = self.headers.get("Content-Type", "nothing")
            sentence = (
                f"{self.status}, and the body is no JSON ({kind}): the gateway did not say that."
            )
            raise Finding(sentence, "Look at the proxy in between, and at the address.") from None

    def error(self) -> Mapping[str, Any]:
        """Return the inside of the error envelope; raises `Finding`."""
        body = self.json()
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict):
            raise Finding(
                f"{self.status} without the error envelope.", "Look at the proxy in between."
            )
        return error


class _Bearer(AuthBase):
    """The key, or none; in either case what `.netrc` says about the host is not used."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


@dataclass(slots=True)
class Deployment:
    """One gateway somewhere. `timeout_s` bounds each request, from its first byte to its last."""

    address: str
    key: str = field(repr=False)
    timeout_s: float

    def get(self, path: str, *, key: str | None = None, **headers: str) -> Answer:
        """GET; with the deployment's key unless another is given. Blocks; raises `Finding`."""
        return self._send("GET", path, None, key, headers)

    def post(self, path: str, body: Any, *, key: str | None = None) -> Answer:
        """POST a JSON body. Blocks, for a stream until its end; raises `Finding`."""
        return self._send("POST", path, orjson.dumps(body), key, {})

    def _send(
        self, method: str, path: str, body: bytes | None, key: str | None, headers: dict[str, str]
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/json"
        began = time.monotonic()
        with (
            self._as_findings(),
            requests.request(
                method,
                self.address + path,
                data=body,
                headers=sent,
                auth=_Bearer(self.key if key is None else key),
                timeout=self.timeout_s,
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            if response.is_redirect:
                sentence = f"{response.status_code}: it sends its callers to another address."
                raise Finding(sentence, "Give the final address; the key is not sent on.")
            pieces, first_ms = self._read(response, began)
        return Answer(response.status_code, response.headers, b"".join(pieces), first_ms)

    def _read(self, response: requests.Response, began: float) -> tuple[list[bytes], int]:
        """Read to the end; requests bounds only the silence between two pieces."""
        pieces: list[bytes] = []
        size, first_ms = 0, None
        for piece in _pieces(response):
            first_ms = _since(began) if first_ms is None else first_ms
            size += len(piece)
            pieces.append(piece)
            if time.monotonic() - began > self.timeout_s:
                raise self._too_late()
            if size > _MOST_BYTES:
                raise Finding("The answer does not end.", "Look at what serves this address.")
        return pieces, _since(began) if first_ms is None else first_ms

    @contextmanager
    def _as_findings(self) -> Iterator[None]:
        try:
            yield
        except requests.Timeout:
            raise self._too_late() from None
        except requests.exceptions.SSLError as error:
            raise Finding(
                f"No TLS with this address ({_reason(error)}).",
                "Check its certificate and the address; REQUESTS_CA_BUNDLE names an authority of your own.",
            ) from None
        except requests.exceptions.ProxyError:
            raise Finding(
                "The proxy of this shell does not lead there.", "Check HTTPS_PROXY and NO_PROXY."
            ) from None
        except requests.exceptions.ChunkedEncodingError:
            raise Finding(
                "The connection broke off in the middle of the answer.",
                "Look at the proxy's limits and at the gateway's log.",
            ) from None
        except requests.RequestException as error:
            # requests has one exception for silence before the body, and none of its own for silence within it.
            if error.args and isinstance(error.args[0], ReadTimeoutError):
                raise self._too_late() from None
            raise Finding(
                f"Nobody answers at {self.address} ({_reason(error)}).",
                "Check the address; on its host: curl $BASE/livez, and is the service running?",
            ) from None

    def _too_late(self) -> Finding:
        return Finding(
            f"No whole answer within {self.timeout_s:g} seconds.",
            "Give more time with --timeout; if that does not help, look at the gateway's log.",
        )


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """What has arrived, as it arrives: the deadline and the first token must not wait until a block is full."""
    is_chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    return iter(response.iter_content(None if is_chunked else 1))


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _reason(error: Exception) -> str:
    """The innermost cause in a word: what surrounds it quotes addresses."""
    inner: BaseException = error
    while inner.args and isinstance(getattr(inner.args[0], "reason", None), BaseException):
        inner = inner.args[0].reason
    cause = inner.__cause__ or inner
    if isinstance(cause, OSError) and cause.strerror:
        return without_secrets(cause.strerror)
    return type(cause).__name__


def address_of(given: str) -> str:
    """Return the address without its end: `/v1`, slashes. Raises `ValueError` with what is wrong."""
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "an address has no user name or password in it: keys are not for the command line"
        )
    if parts.query or parts.fragment:
        raise ValueError("an address ends with its path")
    return given.rstrip("/").removesuffix("/v1").rstrip("/")


def is_this_host(address: str) -> bool:
    """Whether the address cannot leave this machine."""
    return (urlsplit(address).hostname or "") in _LOOPBACK
