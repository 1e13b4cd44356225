import pytest

from app.settings import SettingsError, load_settings

KEY = {"PROXY_API_KEY": "k"}


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ("*",)),
        ("*", ("*",)),
        (" * ", ("*",)),
        ("off", ()),
        ("OFF", ()),
        ("https://a.example", ("https://a.example",)),
        (
            "https://a.example , http://localhost:3000,",
            ("https://a.example", "http://localhost:3000"),
        ),
        ("HTTPS://A.Example", ("https://a.example",)),
        ("app://obsidian.md", ("app://obsidian.md",)),
        ("capacitor://localhost", ("capacitor://localhost",)),
        ("chrome-extension://abcdefgh", ("chrome-extension://abcdefgh",)),
        ("http://127.0.0.1:8080", ("http://127.0.0.1:8080",)),
        ("http://[::1]:8080", ("http://[::1]:8080",)),
    ],
)
def test_origins_are_read(text: str, origins: tuple[str, ...]) -> None:
    settings = load_settings({**KEY, "PROXY_CORS_ALLOWED_ORIGINS": text})
    assert settings.cors_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "https://a.example,null",
        "a.example",
        "https://",
        "https://a.example/",
        "https://a.example/path",
        "https://a.example?x",
        "https://me@a.example",
        "https://a.example:port",
        "https://a.example:443:1",
        "https://*.a.example",
        "*,https://a.example",
        "https://a.example,*",
        "off,https://a.example",
        "https://a.example https://b.example",
        "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example",
        "file://",
    ],
)
@pytest.mark.parametrize("env", ["dev", "prod"])
def test_what_is_no_origin_is_refused_by_name(text: str, env: str) -> None:
    key = "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"
    given = {"PROXY_API_KEY": key, "PROXY_ENV": env, "PROXY_CORS_ALLOWED_ORIGINS": text}
    with pytest.raises(SettingsError) as raised:
        load_settings(given)
    (problem,) = raised.value.problems
    assert problem.startswith("PROXY_CORS_ALLOWED_ORIGINS must be *, off, or origins like https://")


def test_every_origin_is_allowed_in_production_too() -> None:
    key = "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"
    settings = load_settings({"PROXY_API_KEY": key, "PROXY_ENV": "prod"})
    assert settings.cors_origins == ("*",)
