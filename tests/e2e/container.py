"""A container without Docker: the Dockerfile's steps and its service in namespaces of Linux, on this host's own files.

The host's root is the base image, read-only below an overlay that begins empty; it has Python where the official image
has it on its PATH. Each RUN is a shell in there, as root. The service gets namespaces of its own for mounts, processes
and network, so gunicorn is process 1 and the only port is its own; its root is read-only, its user the image's, without
any capability. Needs root. What Docker itself does (layers, registries, cgroups, seccomp) is not tried.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.e2e.dockerfile import ROOT, Instruction, Stage
from tests.e2e.harness import wait_until

PATH = f"{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_OVERLAY = 'mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"'
_DEVICES = 'mount --rbind /dev "$1/root/dev" && mount -t proc proc "$1/root/proc"'

_BUILD = f'{_OVERLAY} && {_DEVICES} && exec chroot "$1/root" sh -c "cd $2 && $3"'

_RUN = f"""
set -e
{_OVERLAY}
{_DEVICES}
mount --bind "$2" "$1/root/var/lib/codex-gateway"
mount --bind "$3" "$1/root/etc/codex-gateway"
mount -o remount,bind,ro "$1/root/etc/codex-gateway"
mount -t tmpfs -o noexec,nosuid,nodev,size=64m tmpfs "$1/root/tmp"
mount -t tmpfs tmpfs "$1/root/dev/shm"
mount -o remount,ro "$1/root"
ip link set lo up
root=$1/root
shift 3
exec chroot "$root" "$@"
"""


def may_mount(folder: Path) -> bool:
    """Whether this host lets us do what is needed here."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    probe = ["unshare", "-m", "-p", "-n", "-f", "sh", "-c", _OVERLAY, "sh", str(folder)]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@dataclass
class Image:
    """A stage that has been built: `folder` has the overlay's layers."""

    folder: Path
    stage: Stage

    @classmethod
    def begin(cls, folder: Path, stage: Stage) -> Image:
        for name in ("upper", "work", "root"):
            (folder / name).mkdir(parents=True)
        made = cls(folder, stage)
        # The interpreter may live in a home that is closed to others; the official image's does not.
        opened = [p for p in Path(sys.base_prefix).parents if not p.stat().st_mode & 0o001]
        for path in opened:
            made.run(f"chmod a+x {path}", "/")
        return made

    @property
    def root(self) -> Path:
        return self.folder / "upper"

    @property
    def workdir(self) -> str:
        return self.stage.one("WORKDIR").text

    def build(self, others: Mapping[str, Image]) -> None:
        """Carry out what changes files, in the order of the Dockerfile."""
        assert not Path(self.workdir).exists(), (
            "this host has something where the image begins empty"
        )
        (self.root / self.workdir.strip("/")).mkdir(parents=True)
        for each in self.stage.instructions:
            if each.name == "RUN":
                self.run(each.text, self.workdir)
            elif each.name == "COPY":
                self._copy(each, others)

    def run(self, command: str, workdir: str) -> None:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", _BUILD, "sh", self.folder, workdir, command],
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def _copy(self, each: Instruction, others: Mapping[str, Image]) -> None:
        *sources, target = each.words
        place = self.root / self.workdir.strip("/") / target
        origin = others[each.flags["from"]].root if "from" in each.flags else ROOT
        for source in sources:
            found = origin / source.lstrip("/")
            skipped = shutil.ignore_patterns("__pycache__") if origin == ROOT else None
            if found.is_dir():
                shutil.copytree(found, place, symlinks=True, ignore=skipped, dirs_exist_ok=True)
            else:
                shutil.copy2(found, place / found.name if place.is_dir() else place)


class Container:
    """One start of an image's command, with a volume and a folder of settings."""

    def __init__(
        self, image: Image, volume: Path, config: Path, log: Path, command: Sequence[str]
    ) -> None:
        user, group = image.stage.one("USER").text.split(":")
        environment = {"PATH": PATH, "HOME": "/var/lib/codex-gateway", **image.stage.environment}
        self._inside = [
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"),
            *("--bounding-set=-all", "--inh-caps=-all", "env", "-i", "-C", image.workdir),
            *(f"{name}={value}" for name, value in environment.items()),
        ]
        self._root = image.folder / "root"
        self.log = log
        places = [str(image.folder), str(volume), str(config)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *("unshare", "-m", "-p", "-n", "-f", "--kill-child", "sh", "-c", _RUN, "sh"),
                    *places,
                    *self._inside,
                    *command,
                ],
                env={"PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.first = wait_until(self._find_first, "the container's first process")

    def _find_first(self) -> psutil.Process | None:
        assert self.process.poll() is None, self.log.read_text()
        found = psutil.Process(self.process.pid).children()
        return found[0] if found else None

    def signal(self, number: int) -> None:
        """As `docker kill -s` does: to process 1 alone."""
        self.first.send_signal(number)

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec` does: in the namespaces, as the image's user."""
        return subprocess.run(
            [*self._entered(), *command], capture_output=True, text=True, check=False
        )

    def begin(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._entered(), *command], stdout=subprocess.PIPE, text=True)

    def _entered(self) -> list[str]:
        enter = ["nsenter", "-t", str(self.first.pid), "-m", "-p", "-n"]
        return [*enter, "chroot", str(self._root), *self._inside]

    def wait(self, seconds: float) -> int:
        """Return the exit status of process 1."""
        return self.process.wait(seconds)

    def end(self) -> None:
        if self.process.poll() is None:
            # It has taken another user since unshare asked to be followed, and would outlive it.
            with suppress(psutil.NoSuchProcess):
                self.first.kill()
            self.process.wait(10)

    def __repr__(self) -> str:
        return shlex.join(self._inside)
