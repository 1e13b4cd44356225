"""What `make run` does before it starts the service: make a `.env` if there is none, and say what to paste.

The key is printed here and nowhere else: the service's own output is its log.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True

from codex_cli_bin import bundled_codex_path

from app.settings import ROOT, Settings, SettingsError, load_settings


def main() -> int:
    """Return the exit code: 1 if the settings are refused."""
    ensure_env_file(ROOT / ".env")
    try:
        settings = load_settings()
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    print(invitation(settings, first_model(settings)), flush=True)
    return 0


def ensure_env_file(path: Path) -> None:
    """Create `.env` with a random client key, readable by its owner only. An existing file is left alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(f"PROXY_API_KEY=sk-local-{secrets.token_urlsafe(24)}\n")
    print("Created .env with a random PROXY_API_KEY; .env.example lists every setting.")


def first_model(settings: Settings) -> str:
    """Return the model that codex lists first."""
    binary = settings.codex_bin or bundled_codex_path()
    home = settings.codex_home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    printed = subprocess.run(
        [str(binary), "debug", "models", "--bundled"],
        env={"CODEX_HOME": str(home), "HOME": str(home), "TMPDIR": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    ).stdout
    listed = [model for model in json.loads(printed)["models"] if model["visibility"] == "list"]
    return str(min(listed, key=lambda model: model["priority"])["slug"])


def invitation(settings: Settings, model: str) -> str:
    """Return the address and a curl line that streams an answer."""
    address = f"http://{settings.host}:{settings.port}"
    question = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello! Who answers here?"}],
    }
    return (
        f"\nThe gateway starts on {address} (Ctrl-C ends it). Its log follows. To see an answer stream, paste:\n\n"
        f"curl -N {address}/v1/chat/completions \\\n"
        f"  -H 'Authorization: Bearer {settings.api_key}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(question)}'\n"
    )


if __name__ == "__main__":
    sys.exit(main())
