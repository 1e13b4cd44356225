"""Side of `codex exec`: `python -m bench.exec_load HOME UPSTREAM_URL BINARY`; a process for each question.

It has the configuration of the gateway's child, or codex's own defaults (`codex_pipe.PLAIN_VARIABLE`). `--json` tells
no deltas: its first text is the whole message, and there are no pieces to count.
"""

from __future__ import annotations

import sys
import time

import orjson
from gevent import subprocess

from app.process.child import ChildSpec
from bench import jobs
from bench.codex_pipe import launcher, prepared
from bench.jobs import Answer, AnswerError, Job

_OPTIONS = ("--json", "--ephemeral", "--skip-git-repo-check", "--sandbox", "read-only")


class ExecClient:
    """Starts a process for each question."""

    def __init__(self, spec: ChildSpec, job: Job) -> None:
        binary, _, *configuration = spec.argv
        self._spec = spec
        self._argv = [binary, "exec", *_OPTIONS, "--model", job.model, *configuration, "-"]
        self._prompt = job.prompt.encode()

    def ask(self) -> Answer:
        """Run one process to its end. Blocks; raises `AnswerError`."""
        asked = time.perf_counter()
        first, texts = 0.0, []
        with subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._spec.env,
            cwd=self._spec.cwd,
        ) as process:
            stdin, stdout = process.stdin, process.stdout
            if stdin is None or stdout is None:
                raise AnswerError("no pipes")
            stdin.write(self._prompt)
            stdin.close()
            for line in stdout:
                item = orjson.loads(line).get("item") or {}
                if item.get("type") == "agent_message":
                    first = first or time.perf_counter()
                    texts.append(item["text"])
        if process.returncode != 0 or not first:
            raise AnswerError(f"codex exec: exit {process.returncode}, {len(texts)} messages")
        return Answer(asked, first, time.perf_counter(), lambda: texts)

    def close(self) -> None:
        """Do nothing: every process has ended."""


def main() -> None:
    """Prepare a CODEX_HOME, do jobs."""
    root, upstream_url, binary = sys.argv[1:]
    spec = prepared(launcher(root, upstream_url, binary))
    jobs.tell({"ready": True})
    jobs.serve({"questions": jobs.questions(lambda job: ExecClient(spec, job), deltas_told=False)})


if __name__ == "__main__":
    main()
