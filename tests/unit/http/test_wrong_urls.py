import pytest

from app.http.wrong_urls import advice_for

ENDPOINTS = [
    *("/healthz", "/livez", "/metrics", "/readyz"),
    *("/v1/chat/completions", "/v1/completions", "/v1/models"),
]


def is_served(path: str) -> bool:
    return path in ENDPOINTS or path.startswith(("/v1/models/", "/internal/"))


def advice(path: str) -> str:
    return advice_for(path, ENDPOINTS, is_served)


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/completions"),
        ("/models", "/v1/models"),
        ("/models/gpt-5.5", "/v1/models/gpt-5.5"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/v1/models", "/v1/models"),
        ("/v1//chat/completions", "/v1/chat/completions"),
        ("//v1/models//", "/v1/models"),
        ("/V1/Chat/Completions", "/v1/chat/completions"),
        ("/v1/chat/completions/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/models", "/v1/models"),
        ("/api/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/v1/models", "/v1/models"),
        ("/openai/deployments/gpt/chat/completions", "/v1/chat/completions"),
        ("/v1beta/openai/chat/completions", "/v1/chat/completions"),
        ("/v1/engines/davinci/completions", "/v1/completions"),
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/chats/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/x", "/v1/chat/completions"),
        ("/v1/chat", "/v1/chat/completions"),
        ("/v1/chat/", "/v1/chat/completions"),
        ("/chat", "/v1/chat/completions"),
        ("/v1/model", "/v1/models"),
        ("/v1/healthz", "/healthz"),
        ("/health", "/healthz"),
        ("/ready", "/readyz"),
    ],
)
def test_the_right_url_is_named(path: str, right: str) -> None:
    assert advice(path).startswith(f"Did you mean {right}? The base URL")


@pytest.mark.parametrize("path", ["/", "", "/v1", "/v1/", "//"])
def test_a_base_url_says_what_is_below_it(path: str) -> None:
    assert advice(path) == (
        "The base URL of a client ends in /v1 here. "
        "What is served: /v1/chat/completions, /v1/completions, /v1/models."
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/embeddings", "does not serve /v1/embeddings: the models"),
        ("/embeddings", "does not serve /v1/embeddings: the models"),
        ("/v1/v1/audio/speech", "does not serve /v1/audio: the models"),
        ("/v1/images/generations", "another provider"),
        ("/v1/messages", "not Anthropic's"),
        ("/v1/messages/count_tokens", "not Anthropic's"),
        ("/anthropic/v1/messages", "not Anthropic's"),
        ("/v1/complete", "not Anthropic's"),
        ("/api/chat", "not Ollama's"),
        ("/api/generate", "not Ollama's"),
        ("/api/tags", "not Ollama's"),
        ("/v1beta/models/gemini:generateContent", "not Google's"),
        ("/v1/assistants", "does not serve /v1/assistants, only /v1/chat/completions, "),
        ("/v1/files/file-1/content", "does not serve /v1/files"),
        ("/v1/fine_tuning/jobs", "does not serve /v1/fine_tuning"),
        ("/v1/threads/t/runs", "does not serve /v1/threads"),
    ],
)
def test_what_is_missing_is_named(path: str, words: str) -> None:
    assert words in advice(path)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/nothing", "/static/x", "/favicon.ico", "/internal/nothing", "/x/internal/traces"),
        *("/v1/embeddingsx", "/.env", "/" + "x/" * 4000, "/" + "a" * 100_000),
    ],
)
def test_of_others_nothing_is_said(path: str) -> None:
    assert advice(path) == ""


def test_what_is_served_one_day_is_not_told_of_as_missing() -> None:
    served = [*ENDPOINTS, "/v1/responses"]
    assert "Did you mean /v1/responses?" in advice_for("/responses", served, served.__contains__)


def test_a_path_of_many_steps_costs_few_looks() -> None:
    looks: list[str] = []

    def count(path: str) -> bool:
        looks.append(path)
        return False

    assert advice_for("/a" * 100, ENDPOINTS, count) == ""
    assert len(looks) < 40
