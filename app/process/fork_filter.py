"""Filter of system calls (seccomp) with which a child can start no process: threads are all that it may begin.

For a program that would run commands on somebody's word, and has no setting against it. The kernel then refuses every
way to a new process, in the child and for its whole life; `execve` stays allowed, since it is how the child itself
begins. Linux on x86-64 and arm64; elsewhere there is no filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

# linux/bpf_common.h, linux/seccomp.h, linux/sched.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_THREAD = 0x00010000
_FOREIGN_NUMBERS = 0x40000000
"""Numbers of the x32 variant of x86-64 begin here."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine's name for itself (`AUDIT_ARCH_…`) and its numbers of the calls that make a process."""

    audit: int
    clone: int
    clone3: int
    others: tuple[int, ...] = ()


MACHINES: Mapping[str, Machine] = MappingProxyType(
    {
        "x86_64": Machine(0xC000003E, clone=56, clone3=435, others=(57, 58)),  # fork, vfork
        "aarch64": Machine(0xC00000B7, clone=220, clone3=435),
    }
)

Instruction = tuple[int, int, int, int]
"""Code, jumps if true and if false, operand."""


def program(machine: Machine) -> tuple[Instruction, ...]:
    """Return the filter's program. Pure.

    `clone3` does not exist (ENOSYS): its flags are in memory, where a filter cannot look, and libraries then take
    `clone`, whose flags are an argument.
    """
    checks = [
        *((_EQUAL, number, "refuse") for number in machine.others),
        (_AT_LEAST, _FOREIGN_NUMBERS, "refuse"),
        (_EQUAL, machine.clone3, "unknown"),
    ]
    # The lines behind the checks, in this order: clone, its flags, their test, then the four ends.
    size = 3 + len(checks) + 3
    ends = {"allow": size, "refuse": size + 1, "unknown": size + 2, "kill": size + 3}

    def lines() -> Iterator[Instruction]:
        yield _LOAD, 0, 0, _MACHINE_AT
        yield _EQUAL, 0, ends["kill"] - 2, machine.audit
        yield _LOAD, 0, 0, _NUMBER_AT
        for at, (test, operand, end) in enumerate(checks, 3):
            yield test, ends[end] - at - 1, 0, operand
        yield _EQUAL, 0, ends["allow"] - (size - 3) - 1, machine.clone
        yield _LOAD, 0, 0, _FIRST_ARGUMENT_AT
        yield _ANY_BIT, 0, 1, _THREAD
        yield _RETURN, 0, 0, _ALLOW
        yield _RETURN, 0, 0, _ERRNO | errno.EPERM
        yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
        yield _RETURN, 0, 0, _KILL

    return tuple(lines())


class _Line(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("operand", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("lines", ctypes.POINTER(_Line)))


def is_available() -> bool:
    """True where `installer` has a filter for this machine."""
    return sys.platform == "linux" and platform.machine() in MACHINES


def installer() -> Callable[[], None]:
    """Return what installs the filter in the process that calls it, for ever. Raises `OSError` where there is none.

    Made before a fork, called between fork and exec. What it returns raises `OSError` where the kernel refuses.
    """
    if not is_available():
        raise OSError(
            errno.ENOSYS, "this system has no filter that keeps a child from starting processes"
        )
    lines = program(MACHINES[platform.machine()])
    code = (_Line * len(lines))(*(_Line(*line) for line in lines))
    filter_ = _Program(len(lines), code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *(4 * [ctypes.c_ulong])]

    def install() -> None:
        address = ctypes.addressof(filter_)
        for call in (
            (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            (_PR_SET_SECCOMP, _MODE_FILTER, address, 0, 0),
        ):
            if prctl(*call) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    return install
