"""Limits of one child: its deadlines, its backoff, and what its watchdog allows."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.backends.app_server.kept_threads import KeptLimits
from app.backends.app_server.warm_threads import WarmLimits
from app.backends.app_server.watchdog import HealthLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """Milliseconds and bytes."""

    rpc_timeout_ms: int
    startup_timeout_ms: int
    backoff_initial_ms: int
    backoff_max_ms: int
    probe_interval_ms: int = 5_000
    probe_timeout_ms: int = 3_000
    memory_bytes: int = 1 << 31
    kept: KeptLimits = field(default_factory=KeptLimits)
    warm: WarmLimits = field(default_factory=WarmLimits)

    @property
    def health_limits(self) -> HealthLimits:
        """The limits of a child's watchdog."""
        return HealthLimits(
            interval_s=self.probe_interval_ms / 1000,
            silence_s=self.probe_timeout_ms / 1000,
            answer_s=max(self.probe_timeout_ms, self.rpc_timeout_ms) / 1000,
            memory_bytes=self.memory_bytes,
        )
