"""An agent's bounds in time and memory, and its next sign of life."""

import os
import time

from .descendants import usage
from .journal import is_abandoned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEMORY_LOOK_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 3600.0  # poll takes no more than 2^31 ms
IDLE_CPU_SHARE = 0.01  # of one core: what a program that only waits uses


class Limits:
    """Memory is measured once a second over all descendants: a limit that can be overshot within that second."""

    def __init__(self, order: "dict[str, Any]", *, keeps_memory: bool) -> None:
        """Without ``keeps_memory`` the kernel does."""
        self.deadline = time.monotonic() + order["timeout_seconds"]
        self.memory_limit_mb = order["memory_limit_mb"] if keeps_memory else None
        self.beat_seconds = order["beat_seconds"]
        self.beaten = self.measured = time.monotonic()
        self.seen = (0, 0.0)

    def next_look_ms(self) -> float:
        until = min(self.deadline, self.beaten + self.beat_seconds) - time.monotonic()
        wait: float = min(until, MEMORY_LOOK_SECONDS if self.memory_limit_mb else until)
        return min(max(0.0, wait), LONGEST_WAIT_SECONDS) * 1000

    def exceeded(self) -> "str | None":
        if time.monotonic() >= self.deadline:
            return "timeout"
        if is_abandoned():
            return "abandoned"
        if self.memory_limit_mb and time.monotonic() >= self.measured + MEMORY_LOOK_SECONDS:
            self.measured = time.monotonic()
            return "memory" if usage()[0] > self.memory_limit_mb else None
        return None

    def beat(self, output_bytes: int) -> "dict[str, Any] | None":
        """Facts for the journal when it is time, and only where the agent wrote or used the CPU meanwhile."""
        passed = time.monotonic() - self.beaten
        if passed < self.beat_seconds:
            return None
        self.beaten = time.monotonic()
        memory_mb, cpu_seconds = usage()
        (bytes_before, seconds_before), self.seen = self.seen, (output_bytes, cpu_seconds)
        used = cpu_seconds - seconds_before
        if output_bytes == bytes_before and used <= IDLE_CPU_SHARE * passed:
            return None
        percent = max(0.0, used) / passed / (os.cpu_count() or 1) * 100  # 100 is all cores (C-10)
        return {"memory_mb": round(memory_mb, 1), "cpu_percent": round(percent, 1)}
