"""Writing the log: real pipes that nobody reads, disks that are full, forks."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from app.observability import logs
from app.observability.log_writer import LineStream, LineWriter

CHUNK = 65_536


class Pipe:
    """A pipe that is full until somebody reads it: what fills it are lines without text."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        self._writers: list[LineWriter] = []

    def fill(self) -> None:
        os.set_blocking(self.writes, False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.writes, b"\n" * 4096)
        os.set_blocking(self.writes, True)

    def read_to(self, last: bytes) -> list[bytes]:
        """Every line that has text, up to the one that ends with `last`. Blocks."""
        found = b""
        while not found.endswith(last + b"\n"):
            found += os.read(self.reads, CHUNK)
        return [line for line in found.split(b"\n") if line]

    def writer(self, **bounds: int) -> LineWriter:
        return self.keep(LineWriter(self.writes, **bounds))

    def keep(self, writer: LineWriter) -> LineWriter:
        """Let a writer end with the pipe: one that goes on would write into whatever has its descriptor next."""
        self._writers.append(writer)
        return writer

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.reads)  # who waits for room is told that nobody will make any
        for writer in self._writers:
            writer.close()
        with suppress(OSError):
            os.close(self.writes)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def write(writer: LineWriter, *lines: bytes, is_important: bool = False) -> None:
    for line in lines:
        writer.put(line + b"\n", is_important=is_important)


def threads() -> set[int]:
    return {thread.id for thread in psutil.Process().threads()}


def numbered(count: int) -> list[bytes]:
    return [b"line %03d" % number for number in range(count)]


def test_lines_come_in_their_order(pipe: Pipe) -> None:
    writer = pipe.writer()
    write(writer, *numbered(1000))
    assert pipe.read_to(b"line 999") == numbered(1000)
    assert (writer.lost, writer.take_lost()) == (0, 0)


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_line_that_is_longer_than_a_pipe_comes_whole(pipe: Pipe, is_blocking: bool) -> None:
    os.set_blocking(pipe.writes, is_blocking)
    writer = pipe.writer()
    long = b"x" * 1_000_000
    write(writer, b"first", long, b"last")
    assert pipe.read_to(b"last") == [b"first", long, b"last"]


def test_where_nobody_reads_lines_are_lost_and_counted(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.writer(max_bytes=9 * 80)
    write(writer, *numbered(200))
    assert writer.take_lost() == 0, "nobody could read it yet"
    lost = writer.lost
    assert 120 <= lost <= 130
    threading.Thread(target=write, args=(writer, b"last"), kwargs={"is_important": True}).start()
    kept = pipe.read_to(b"last")
    assert kept == [*numbered(200 - lost), b"last"]
    writer.flush()
    assert (writer.take_lost(), writer.take_lost(), writer.lost) == (lost, 0, lost)


def test_an_error_is_kept_where_other_lines_are_lost(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.writer(max_bytes=8 * 90)
    write(writer, *numbered(200))
    before = writer.lost
    write(writer, b"an error", is_important=True)
    assert writer.lost == before
    assert b"an error" in pipe.read_to(b"an error")


def test_the_number_of_lines_is_bounded_too(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.writer(max_lines=16)
    write(writer, *[b""] * 5000)
    # What one write takes has left the queue.
    assert 5000 - 4096 - 16 <= writer.lost < 5000


def test_what_is_refused_is_lost_without_a_word_and_told_later(
    pipe: Pipe, capfd: pytest.CaptureFixture[str]
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = pipe.keep(LineWriter(full))
    write(writer, b"one", b"two")
    writer.flush()
    assert (writer.lost, writer.take_lost()) == (2, 0)
    os.dup2(pipe.writes, full)
    write(writer, b"three")
    assert pipe.read_to(b"three") == [b"three"]
    writer.flush()
    assert (writer.take_lost(), writer.lost) == (2, 2)
    os.close(full)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_reader_that_has_gone_is_no_failure(pipe: Pipe, is_closed: bool) -> None:
    os.close(pipe.reads)
    if is_closed:
        os.close(pipe.writes)
    writer = pipe.writer()
    write(writer, *numbered(10))
    writer.flush()
    assert writer.lost == 10


def test_a_child_does_not_write_what_waits_in_its_parent(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.writer()
    write(writer, b"parent")
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            write(writer, b"child")
            for _ in range(30):  # a second each, until it is written
                writer.flush()
        os._exit(0)
    found = b""
    while not {b"parent", b"child"} <= set(found.split(b"\n")[:-1]):
        found += os.read(pipe.reads, CHUNK)
    assert os.waitpid(child, 0) == (child, 0)
    write(writer, b"last")
    found += b"\n".join(pipe.read_to(b"last"))
    assert sorted(found.split()) == [b"child", b"last", b"parent"]


def test_a_flush_ends_although_nobody_reads(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.writer()
    write(writer, b"waits")
    writer.flush()
    assert writer.lost == 0


def test_a_writer_that_is_closed_leaves_no_thread_and_begins_anew(pipe: Pipe) -> None:
    before = threads()  # maybe with one of another test that is just ending
    writer = pipe.writer()
    for line in (b"one", b"two"):
        write(writer, line)
        (its,) = threads() - before
        writer.close()
        assert pipe.read_to(line) == [line]
        while its in threads():
            pass


def test_a_stream_hands_on_whole_lines(pipe: Pipe) -> None:
    stream = LineStream(pipe.writer(), pipe.writes)
    print("a trace", end="", file=stream)
    print("back\nand \ud800 more", file=stream)
    stream.write("the rest")
    stream.flush()
    stream.write("\n")
    assert pipe.read_to(b"rest") == [b"a traceback", b"and \\ud800 more", b"the rest"]
    assert stream.fileno() == pipe.writes


def test_lost_lines_are_told_once(pipe: Pipe) -> None:
    handler, logger = logs.StdoutHandler(), logging.getLogger("codex_api")
    full = os.open("/dev/full", os.O_WRONLY)
    handler.writer = LineWriter(full)
    handler.setFormatter(logs.JsonFormatter())
    logger.addHandler(handler)
    try:
        logger.error("lost")
        handler.flush()
        os.dup2(pipe.writes, full)
        logger.error("first")
        handler.flush()
        assert logs.lines_lost() == 1
        logs.tell_of_lost_lines()
        logs.tell_of_lost_lines()
        logger.error("last")
        handler.flush()
    finally:
        logger.removeHandler(handler)
        handler.close()
        os.close(full)
    told = [json.loads(line) for line in os.read(pipe.reads, CHUNK).splitlines()]
    assert [line["event"] for line in told] == ["first", "log_lines_dropped", "last"]
    assert (told[1]["level"], told[1]["lines"]) == ("warn", 1)


RECONFIGURES = """
import logging, logging.config, sys, time
from app.observability import logs

def writer():
    return logging.getLogger("codex_api").handlers[0].writer

logging.config.dictConfig(logs.log_config("info"))
logger = logging.getLogger("codex_api.test")
logger.info("being written")
while writer()._lines:  # until the thread has it
    time.sleep(0.001)
for number in range(4):
    logger.info("waits")
logging.config.dictConfig(logs.log_config("info"))
logger.info("goes on")
print("x", end="", file=sys.stderr, flush=True)
sys.stdin.read()
writer().flush()
logs.tell_of_lost_lines()
logs.tell_of_lost_lines()
"""


def test_lines_that_a_new_configuration_gives_up_are_counted(pipe: Pipe) -> None:
    pipe.fill()
    command = [sys.executable, "-c", RECONFIGURES]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=pipe.writes, stderr=subprocess.PIPE
    ) as process:
        os.close(pipe.writes)
        assert process.stderr is not None
        assert process.stderr.read(1) == b"x"
        assert process.stdin is not None
        process.stdin.close()
        found = b"".join(iter(lambda: os.read(pipe.reads, CHUNK), b""))
    said = [json.loads(line) for line in found.splitlines() if line]
    assert sorted(line["event"] for line in said) == [
        "being written",
        "goes on",
        "log_lines_dropped",
    ]
    assert [line["lines"] for line in said if "lines" in line] == [4]


def test_closed_standard_streams_are_held() -> None:
    program = (
        "import os, sys; sys.path.insert(0, os.getcwd());"
        "from app.observability import logs; logs.hold_standard_descriptors();"
        "held = [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1)];"
        "sys.exit(held != ['/dev/null'] * 2 or not os.get_inheritable(1))"
    )
    command = ["sh", "-c", 'exec "$@" <&- >&-', "sh", sys.executable, "-c", program]
    assert subprocess.run(command, check=False, env={"PATH": os.environ["PATH"]}).returncode == 0
