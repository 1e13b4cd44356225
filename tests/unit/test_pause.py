import gevent
from gevent import socket

from app.pause import pause


def test_the_loop_looks_at_sockets_and_timers_in_every_pause() -> None:
    ours, theirs = socket.socketpair()
    heard: list[object] = []
    gevent.spawn(lambda: heard.append(ours.recv(1)))
    gevent.spawn_later(0, heard.append, "timer")
    pause()
    theirs.send(b"x")
    for _ in range(3):
        pause()
    assert sorted(map(str, heard)) == ["b'x'", "timer"]
    ours.close()
    theirs.close()
