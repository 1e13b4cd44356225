"""What the processes of a service hold at rest, and from when on it may not grow."""

from __future__ import annotations

from dataclasses import dataclass, replace


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
    """Return the most that was held in the first half of a run.

    Until then caches fill (answers that are kept, connections, the allocator's own pools), and memory comes and goes by
    some MiB. What grows for ever grows in the second half, too.
    """
    half = seen[: len(seen) // 2]
    return replace(
        half[-1],
        worker_mib=max(held.worker_mib for held in half),
        child_mib=max(held.child_mib for held in half),
    )
