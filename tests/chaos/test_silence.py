"""Ten minutes without a word behind nginx: CHAOS_SILENCE_SECONDS for another time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.e2e.harness import Upstream, ask
from tests.e2e.replicas import Replicas

SILENCE_S = int(os.environ.get("CHAOS_SILENCE_SECONDS", "600"))
KEEPALIVE_S = 15
"""The default of PROXY_SSE_KEEPALIVE_MS, which the sample of nginx goes by."""


@pytest.mark.chaos
@pytest.mark.timeout(SILENCE_S + 180)
def test_answers_outlive_a_long_silence_behind_nginx(tmp_path: Path, upstream: Upstream) -> None:
    """Time is counted by the signs of life of the stream; the whole answer has none, and comes all the same."""
    patience_ms = str((SILENCE_S + 120) * 1000)
    pair = Replicas(tmp_path, upstream, WORKER_REQUEST_TIMEOUT_MS=patience_ms)
    script = {"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]}
    streamed_marker, whole_marker = upstream.play(script), upstream.play(script)
    post = f"{pair.front.url}/v1/chat/completions"
    try:
        with ThreadPoolExecutor(1) as other:
            whole = other.submit(
                requests.post,
                post,
                json=ask(whole_marker),
                headers=pair.front.headers,
                timeout=SILENCE_S + 120,
            )
            with pair.front.post(ask(streamed_marker, stream=True), stream=True) as streamed:
                frames = (line for line in streamed.iter_lines() if line)
                while b'"content":"b"' not in next(frames):
                    pass
                for _ in range(SILENCE_S // KEEPALIVE_S):
                    next(frames)
                assert not whole.done()
                upstream.control.release(streamed_marker)
                upstream.control.release(whole_marker)
                assert list(frames)[-1] == b"data: [DONE]"
            assert whole.result().json()["choices"][0]["message"]["content"] == "ab"
    finally:
        pair.close()
