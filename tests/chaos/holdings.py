"""What the processes of a service hold at rest, and from when on it may not grow."""

from __future__ import annotations

from dataclasses import dataclass

WARM_MIB = 4
"""A batch of requests that adds less than this to the worker has found it warm: its caches are full."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the processes hold, with nothing to do."""

    worker_mib: float
    child_mib: float
    descriptors: int
    threads: int
    child_threads: int
    home_mib: float

    def __str__(self) -> str:
        return (
            f"worker {self.worker_mib:.0f} MiB, child {self.child_mib:.0f} MiB, "
            f"home {self.home_mib:.1f} MiB, {self.descriptors} descriptors, "
            f"{self.threads} and {self.child_threads} threads"
        )


def when_warm(seen: list[Holdings]) -> Holdings:
    """Return the first of the holdings after which a batch added nothing to speak of; at the latest those half-way.

    Before that, caches fill: the answers that are kept, connections, the allocator's own pools. What grows for ever
    never gets warm, and is found by the second half.
    """
    half = seen[: len(seen) // 2]
    pairs = zip(half, seen[1:], strict=False)
    return next(
        (now for now, later in pairs if later.worker_mib - now.worker_mib < WARM_MIB), half[-1]
    )
