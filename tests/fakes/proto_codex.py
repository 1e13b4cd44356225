"""Stand-in for a codex CLI with `codex proto`: its lines, without a model. What it does is the last word of its prompt.

It ends as the real one does: after `shutdown` and the end of its input, and not by the latter alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = """#!{python}
import json, os, subprocess, sys, time

if sys.argv[1:] == ["--version"]:
    print({version!r})
    sys.exit()
home = os.environ["CODEX_HOME"]
if {habit!r} == "fails":
    sys.exit("the reason")
if {habit!r} == "hangs":
    time.sleep(1000)


def tell(number, kind, **more):
    print(json.dumps({{"id": number, "msg": {{"type": kind, **more}}}}), flush=True)


def fork():
    try:
        subprocess.run(["/bin/true"], check=True)
    except OSError as error:
        return type(error).__name__
    return "ran"


tell("", "session_configured", session_id="0199-" + str(os.getpid()), model="gpt-5")
os.makedirs(home + "/sessions")
for line in sys.stdin:
    asked = json.loads(line)
    number, op = asked["id"], asked["op"]
    if op["type"] == "shutdown":
        if {habit!r} == "stays":
            time.sleep(1000)
        tell(number, "shutdown_complete")
        continue
    if op["type"] != "user_turn":
        continue
    lines = [item["text"] for item in op["items"]]
    open(home + "/sessions/rollout.jsonl", "w").write("\\n".join(lines))
    said = json.loads(lines[-1])["content"]
    word = said.split()[-1]
    tell(number, "task_started")
    if word == "die":
        os.abort()
    if word == "silence":
        continue
    if word == "nonsense":
        print("{{", flush=True)
        continue
    if word == "fork":
        said = fork()
    if word == "login":
        said = open(home + "/auth.json").read() if os.path.exists(home + "/auth.json") else ""
    if word == "fail":
        tell(number, "error", message="exceeded retry limit, last status: 429 Too Many Requests")
    else:
        for at in range(0, len(said), 2):
            tell(number, "agent_message_delta", delta=said[at : at + 2])
        tell(number, "agent_message", message=said)
        used = dict.fromkeys(
            ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens"), 1
        )
        used["total_tokens"] = 2
        tell(number, "token_count", info={{"total_token_usage": used, "last_token_usage": used}})
    tell(number, "task_complete", last_agent_message=said)
"""


def write_proto_codex(path: Path, *, version: str = "codex-cli 0.42.0", habit: str = "") -> Path:
    """Write the program. `habit`: it `fails` or `hangs` at its start, or `stays` where it is told to exit."""
    path.write_text(_PROGRAM.format(python=sys.executable, version=version, habit=habit))
    path.chmod(0o755)
    return path
