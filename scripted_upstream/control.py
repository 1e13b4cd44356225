"""Control endpoints: tests register scripts, read what was recorded and wait for it. Closed unless asked for.

Each takes the path's last part, the query and the JSON body, and returns a status and JSON data.
"""

from collections.abc import Callable
from typing import Any

import orjson

from scripted_upstream.fields import Fields, ScriptError
from scripted_upstream.recorder import TIMES, Recorder
from scripted_upstream.script import parse_script
from scripted_upstream.script_registry import ScriptRegistry

Answer = tuple[int, Any]

_CONDITIONS = {name: name for name in (*TIMES, "held")}
_OK = 200
_BAD_REQUEST = 400
_NOT_FOUND = 404
_TIMEOUT = 408


class Control:
    """Endpoints below `/control/`, over a registry and a recorder. `hang_up` ends every WebSocket, and counts them."""

    def __init__(
        self, scripts: ScriptRegistry, recorder: Recorder, hang_up: Callable[[], int]
    ) -> None:
        self._scripts = scripts
        self._recorder = recorder
        self._hang_up = hang_up
        self._routes: dict[tuple[str, str], Callable[[Fields], Answer]] = {
            ("POST", "scripts"): self._put_script,
            ("DELETE", "scripts"): self._drop_script,
            ("GET", "requests"): self._requests,
            ("GET", "state"): self._state,
            ("POST", "release"): self._release,
            ("POST", "wait"): self._wait,
            ("POST", "hang-up"): self._end_websockets,
            ("POST", "reset"): self._reset,
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        """Answer a request below `/control/`; `path` is what follows that. `wait` blocks."""
        name, _, marker = path.partition("/")
        route = self._routes.get((method, name))
        if route is None:
            return _NOT_FOUND, {"error": f"no control endpoint {method} {path}"}
        try:
            sent = orjson.loads(body) if body else {}
            fields = Fields(sent, name)
            fields.left.update(query, **({"marker": marker} if marker else {}))
            answer = route(fields)
            fields.done()
        except (ScriptError, orjson.JSONDecodeError) as exc:
            return _BAD_REQUEST, {"error": str(exc)}
        return answer

    def _put_script(self, fields: Fields) -> Answer:
        script = parse_script(fields.need("script", (list, dict)))
        self._scripts.put(fields.need("marker", str), script)
        return _OK, {"responses": len(script.responses)}

    def _drop_script(self, fields: Fields) -> Answer:
        existed = self._scripts.drop(fields.need("marker", str))
        return (_OK if existed else _NOT_FOUND), {"dropped": existed}

    def _requests(self, fields: Fields) -> Answer:
        records = self._recorder.matching(fields.take("marker", str, None))
        return _OK, {"requests": [record.rendered() for record in records]}

    def _state(self, _: Fields) -> Answer:
        return _OK, self._recorder.state()

    def _release(self, fields: Fields) -> Answer:
        return _OK, {"released": self._recorder.release(fields.need("marker", str))}

    def _end_websockets(self, _: Fields) -> Answer:
        return _OK, {"ended": self._hang_up()}

    def _wait(self, fields: Fields) -> Answer:
        marker = fields.take("marker", str, None)
        condition = fields.choice("condition", _CONDITIONS, None)
        count = int(fields.count("count", 1))
        timeout_ms = fields.count("timeout_ms", 10_000)
        have = self._recorder.wait(marker, condition, count, timeout_ms / 1000)
        return (_OK if have >= count else _TIMEOUT), {"count": have}

    def _reset(self, _: Fields) -> Answer:
        self._scripts.clear()
        self._recorder.reset()
        return _OK, {}
