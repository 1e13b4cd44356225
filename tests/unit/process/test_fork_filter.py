"""The filter's program, run by hand: which system calls it lets through."""

from __future__ import annotations

import errno

import pytest

from app.process.fork_filter import MACHINES, Instruction, program

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
X86, ARM = MACHINES["x86_64"].audit, MACHINES["aarch64"].audit
THREAD = 0x3D0F00
"""Flags with which glibc begins a thread."""

CALLS = [
    ("x86_64", X86, 0, 0, ALLOW),  # read
    ("x86_64", X86, 59, 0, ALLOW),  # execve: how the child itself begins
    ("x86_64", X86, 56, THREAD, ALLOW),
    ("x86_64", X86, 56, 0x1200011, REFUSED),  # clone, as fork does
    ("x86_64", X86, 56, 0x4111, REFUSED),  # clone, as posix_spawn does
    ("x86_64", X86, 57, 0, REFUSED),  # fork
    ("x86_64", X86, 58, 0, REFUSED),  # vfork
    ("x86_64", X86, 435, 0, UNKNOWN),  # clone3
    ("x86_64", X86, 0x40000000 + 57, 0, REFUSED),  # fork of x32
    ("x86_64", 0x40000003, 2, 0, KILL),  # fork of i386
    ("aarch64", ARM, 63, 0, ALLOW),  # read
    ("aarch64", ARM, 57, 0, ALLOW),  # close
    ("aarch64", ARM, 220, THREAD, ALLOW),
    ("aarch64", ARM, 220, 17, REFUSED),
    ("aarch64", ARM, 435, 0, UNKNOWN),
    ("aarch64", 0x40000028, 2, 0, KILL),  # fork of arm
]


def run(lines: tuple[Instruction, ...], data: dict[int, int]) -> int:
    """Run classic BPF as the kernel does: one register, forward jumps, a return."""
    at = loaded = 0
    while True:
        code, if_true, if_false, operand = lines[at]
        at += 1
        match code:
            case 0x06:
                return operand
            case 0x20:
                loaded = data[operand]
            case _:
                holds = {
                    0x15: loaded == operand,
                    0x35: loaded >= operand,
                    0x45: bool(loaded & operand),
                }[code]
                at += if_true if holds else if_false


@pytest.mark.parametrize(("machine", "audit", "number", "argument", "verdict"), CALLS)
def test_threads_begin_and_processes_do_not(
    machine: str, audit: int, number: int, argument: int, verdict: int
) -> None:
    data = {0: number, 4: audit, 16: argument}
    assert run(program(MACHINES[machine]), data) == verdict
