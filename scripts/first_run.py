"""What `make run` and `make dev` do before the service: make a key if there is none, and say what would stop the start.

Then this process becomes the service: its arguments are those of the Python that it is to be. Another one waits until
the service answers, and prints what to paste.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from pathlib import Path
from typing import NoReturn

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is no failure
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True

from dotenv import set_key

from app.runtime import address, pid_file, state_folder
from app.settings import ROOT, Settings, SettingsError, load_settings, read_environment
from scripts.invitation import begin_waiting


def main() -> int:
    """Become the service, or return the exit code: 1 if it cannot start."""
    os.chdir(ROOT)
    os.umask(0o077)
    try:
        ensure_key(ROOT / ".env")
        settings = load_settings()
    except SettingsError as error:
        return fail("\n".join(error.problems))
    except OSError as error:
        return fail(
            f".env cannot be written: {error.strerror}. Set PROXY_API_KEY before the command."
        )
    if problem := problem_with(settings):
        return fail(problem)
    print("The gateway starts. Its log follows, and then what to paste.", flush=True)
    begin_waiting(settings)
    return become(sys.argv[1:])


def become(arguments: list[str]) -> NoReturn:
    """Run another program of this Python in place of this one. Ctrl-C waits until `gunicorn.conf.py` can take it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def fail(sentence: str) -> int:
    """Say why there will be no service; return the exit code."""
    print(sentence, file=sys.stderr)
    return 1


def ensure_key(path: Path) -> None:
    """Put a random client key into `.env`, which is then readable by its owner only, if there is none anywhere.

    Raises `OSError`, and `SettingsError` if the file cannot be read.
    """
    known = read_environment(path).get("PROXY_API_KEY", "")
    if known.strip() or "PROXY_API_KEY" in os.environ:
        return
    is_new = not path.exists()
    set_key(path, "PROXY_API_KEY", f"sk-local-{secrets.token_urlsafe(24)}", quote_mode="never")
    path.chmod(0o600)
    done = "Created .env with" if is_new else "Filled in .env:"
    print(f"{done} a random PROXY_API_KEY; .env.example lists every setting.", flush=True)


def problem_with(settings: Settings) -> str:
    """Return why the service would not start here, empty if it would."""
    if problem := state_folder.prepare(settings.codex_home):
        return problem
    pid = pid_file.running(settings.codex_home / "gunicorn.pid")
    if pid is not None:
        return (
            f"A gateway with this CODEX_HOME runs already (pid {pid}). Stop it (kill {pid}), or give this one a "
            "PORT and a CODEX_HOME of its own: PORT=11436 CODEX_HOME=./.codex-api-2 make run"
        )
    return address.problem(settings.host, settings.port)


if __name__ == "__main__":
    sys.exit(main())
