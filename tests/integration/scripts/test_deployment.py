"""`scripts/port-dev-to-prod.sh` and `rollback.sh`, with stubs of docker and systemctl that note their calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT

STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
*up\\ --detach*) cat "$CONFIG/image.env" >> "$CALLS" ;;
esac
if [ -n "${FAILS-}" ]; then case "$*" in *"$FAILS"*) echo "not today" >&2; exit 1 ;; esac; fi
"""
KEY = "7yQ2mV7xK4tB1wZ8cR5y9fQ2mV7x"
SETTINGS = f"PROXY_API_KEY={KEY}\nPROXY_ADMIN_KEY=admin{KEY}\nWORKER_MAX_CONCURRENCY=%d\n"


@dataclass
class Site:
    """A checkout with the scripts, the settings of production, and a PATH that begins with the stubs."""

    folder: Path
    config: Path
    deploy_with: str = "compose"

    def run(self, script: str, *arguments: str, **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            [str(self.folder / "scripts" / script), *arguments],
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "CALLS": str(self.calls_path),
                "CONFIG": str(self.config),
                "PROD_CONFIG": str(self.config),
                "DEPLOY_WITH": self.deploy_with,
                "PROD_URL": "https://gateway.example",
                "PROD_API_KEY": KEY,
                **variables,
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert KEY not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    @property
    def calls_path(self) -> Path:
        return self.folder / "calls"

    def calls(self) -> list[str]:
        """What was called since the last time."""
        lines = self.calls_path.read_text().splitlines() if self.calls_path.exists() else []
        self.calls_path.unlink(missing_ok=True)
        return lines

    def set(self, turns: int) -> None:
        (self.config / ".env").write_text(SETTINGS % turns)
        (self.config / ".env").chmod(0o600)

    def turns(self) -> str:
        return (self.config / ".env").read_text().split("CONCURRENCY=")[1].strip()

    def deploy(self, version: str, **variables: str) -> tuple[int, str]:
        return self.run("port-dev-to-prod.sh", version, CONFIRM_DEPLOY="prod", **variables)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "bin").mkdir()
    for name in ("docker", "systemctl"):
        stub(folder / "bin" / name)
    for name in ("dev", "prod"):
        stub(folder / "scripts" / "smoke" / f"{name}.sh")
    made = Site(folder, folder / "docker" / "config" / "prod")
    made.config.mkdir(parents=True)
    made.set(8)
    return made


def stub(path: Path) -> None:
    path.write_text(STUB)
    path.chmod(0o755)


def test_it_asks_before_it_deploys(site: Site) -> None:
    code, said = site.run("port-dev-to-prod.sh", "0.3.0")
    assert code == 1
    assert "Production goes from nothing to 0.3.0, with compose.\nType prod to go on: " in said
    assert said.endswith("Nothing was changed.\n")
    assert not any(" up " in call for call in site.calls())


def test_it_checks_deploys_and_tries(site: Site) -> None:
    code, said = site.deploy("0.3.0")
    assert code == 0, said
    assert said.count("ok      ") == 6
    calls = site.calls()
    assert calls[0] == "docker image inspect codex-gateway:0.3.0"
    assert calls[-4:] == [
        "dev.sh ",
        "docker compose up --detach --no-build --wait --wait-timeout 120",
        "GATEWAY_TAG=0.3.0",
        "prod.sh ",
    ]


@pytest.mark.parametrize("fails", ["network inspect", "codex-gateway:0.3.0"])
def test_what_docker_lacks_stops_it(site: Site, fails: str) -> None:
    code, said = site.deploy("0.3.0", FAILS=fails)
    assert code == 1
    assert "FAILED  " in said
    assert "not today" in said
    assert said.endswith("Nothing was changed.\n")
    assert not any(" up " in call for call in site.calls())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("LOG_LEVEL=loud", "LOG_LEVEL must be one of"),
        ("PROXY_METRICS_TOKEN=short", "PROXY_METRICS_TOKEN"),
    ],
)
def test_settings_that_production_would_refuse_stop_it(
    site: Site, line: str, sentence: str
) -> None:
    with (site.config / ".env").open("a") as settings:
        settings.write(line + "\n")
    code, said = site.deploy("0.3.0")
    assert code == 1
    assert "FAILED  settings are those of a production" in said
    assert sentence in said


def test_settings_that_others_can_read_stop_it(site: Site) -> None:
    (site.config / ".env").chmod(0o644)
    code, said = site.deploy("0.3.0")
    assert (code, "its mode is 644" in said) == (1, True)


def test_a_version_that_does_not_answer_names_the_way_back(site: Site) -> None:
    assert site.deploy("0.3.0")[0] == 0
    (site.folder / "scripts" / "smoke" / "prod.sh").write_text("#!/bin/sh\nexit 1\n")
    code, said = site.deploy("0.4.0")
    assert code == 1
    assert said.splitlines()[-1].endswith("Back: scripts/rollback.sh image")
    site.calls()
    assert site.run("rollback.sh", "image")[0] == 0
    assert site.calls()[-1] == "GATEWAY_TAG=0.3.0"


def test_image_and_configuration_go_back_in_two_commands(site: Site) -> None:
    assert site.deploy("0.3.0")[0] == 0
    site.set(64)
    assert site.deploy("0.4.0")[0] == 0
    site.calls()

    code, said = site.run("rollback.sh", "image")
    assert (code, "release 2: 0.3.0" in said) == (0, True)
    assert site.calls()[-1] == "GATEWAY_TAG=0.3.0"
    assert site.turns() == "64"

    code, said = site.run("rollback.sh", "config")
    assert code == 0, said
    assert site.turns() == "8"
    assert site.calls() == ["docker compose kill --signal HUP gateway"]
    assert (site.config / ".env").stat().st_mode & 0o777 == 0o600

    _, listed = site.run("rollback.sh", "list")
    # 0.3.0 with 8 came first, and runs again.
    assert listed.splitlines()[0].startswith("* 1  0.3.0  ")


def test_the_way_back_from_a_rollback_is_the_same_command(site: Site) -> None:
    for version in ("0.3.0", "0.4.0"):
        assert site.deploy(version)[0] == 0
    assert site.run("rollback.sh", "image")[0] == 0
    site.calls()
    assert site.run("rollback.sh", "image", "2")[0] == 0
    assert site.calls()[-1] == "GATEWAY_TAG=0.4.0"


def test_without_another_release_nothing_happens(site: Site) -> None:
    assert site.deploy("0.3.0")[0] == 0
    site.calls()
    code, said = site.run("rollback.sh", "image")
    assert code == 1
    assert said.endswith("is another one than what runs.\n")
    assert site.run("rollback.sh", "image", "9")[0] == 1
    assert site.run("rollback.sh")[0] == 2
    assert site.calls() == []


def test_releases_can_be_read_by_their_owner_alone(site: Site) -> None:
    assert site.deploy("0.3.0")[0] == 0
    for path in (site.config / "releases").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@x.example", "-C", str(folder)]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_with_systemd_a_commit_is_the_version(site: Site, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    (origin / "scripts").mkdir(parents=True)
    stub(origin / "scripts" / "environment.sh")
    git(tmp_path, "init", "-q", str(origin))
    for tag in ("v0.3.0", "v0.4.0"):
        (origin / "version").write_text(tag)
        git(origin, "add", ".")
        git(origin, "commit", "-qm", tag)
        git(origin, "tag", tag)
    production = tmp_path / "production"
    git(tmp_path, "clone", "-q", "--branch", "v0.3.0", str(origin), str(production))
    site.config, site.deploy_with = production, "systemd"
    site.set(8)
    code, said = site.deploy("v0.4.0")
    assert code == 0, said
    assert (production / "version").read_text() == "v0.4.0"
    assert "environment.sh .venv requirements.lock" in site.calls_path.read_text()
    assert "systemctl restart codex-gateway" in site.calls()

    assert site.run("rollback.sh", "image")[0] == 0
    assert (production / "version").read_text() == "v0.3.0"
    site.set(64)
    site.calls()
    assert site.run("rollback.sh", "config")[0] == 0
    assert site.turns() == "8"
    assert site.calls() == ["systemctl reload codex-gateway"]
