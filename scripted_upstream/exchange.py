"""Player of a timeline on one connection; it records the outcome."""

import gevent

from scripted_upstream.peer import Peer, PeerLeftError
from scripted_upstream.recorder import Record, Recorder
from scripted_upstream.timeline import Act, End, Head, Hold, Leave, Pause, Reply, Send

_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "Transfer-Encoding": "chunked",
}


_HEADER_S = 0.5
_PIECE = b"x" * (1 << 16)


class Exchange:
    """One request being answered."""

    def __init__(self, peer: Peer, record: Record, recorder: Recorder) -> None:
        self._peer = peer
        self._record = record
        self._recorder = recorder
        self.reusable = False

    def __repr__(self) -> str:
        return f"<Exchange {self._record.sequence} {self._peer!r}>"

    def perform(self, acts: tuple[Act, ...]) -> str:
        """Perform the acts in order and return the outcome.

        One of completed, replied (no stream), reset, cut, peer_closed. `reusable` then says
        whether the connection may serve another request.
        """
        try:
            for act in acts:
                outcome = self._act(act)
                if outcome is not None:
                    return outcome
        except PeerLeftError:
            return "peer_closed"
        return "completed"

    def _act(self, act: Act) -> str | None:
        match act:
            case Send(data):
                gevent.sleep(0)  # many streams at once: each gets its turn before every write
                self._peer.chunk(data)
            case Pause(ms):
                self._peer.pause(ms / 1000)
            case Hold():
                self._peer.await_release(self._recorder.hold(self._record))
            case Head(headers):
                self._peer.head(200, self._identified({**_STREAM_HEADERS, **dict(headers)}))
                self._recorder.mark(self._record, "headers_sent")
            case Leave(how):
                return self._leave(how)
            case End():
                self._peer.chunk(b"")
                self.reusable = True
            case Reply():
                return self._reply(act)
        return None

    def _reply(self, reply: Reply) -> str:
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
        self._peer.head(reply.status, self._identified({**headers, **dict(reply.headers)}))
        self._recorder.mark(self._record, "headers_sent")
        self._peer.write(reply.body)
        self.reusable = True
        return "replied"

    def _write_for_ever(self, how: str) -> None:
        """Ends when the other side leaves."""
        if how == "endless_head":
            self._peer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                self._peer.write(b"X-More: and more\r\n")
                self._peer.pause(_HEADER_S)
        self._peer.chunk(b"data: ")
        while True:
            self._peer.chunk(_PIECE)
            gevent.sleep(0)

    def _leave(self, how: str) -> str:
        if how.startswith("endless"):
            self._write_for_ever(how)
        if how == "hang":
            self._peer.pause(None)
        if how == "reset":
            self._peer.reset_on_close()
        return how

    def _identified(self, headers: dict[str, str]) -> dict[str, str]:
        return {**headers, "x-request-id": f"req_demo_{self._record.sequence}"}
