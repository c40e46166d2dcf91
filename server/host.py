"""The machine that agents run on."""

import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .gates import Load

WINDOW_SECONDS = 2.0
FRESH_SECONDS = 1.0


@dataclass
class Watch:
    """Looks at the machine now and then; the CPU's load is that between two looks, some seconds apart.

    ``folder`` is where worktrees will lie; while it is missing, the nearest folder above it is looked at.
    """

    folder: Path
    _seen: Load = field(default_factory=lambda: Load(0.0, 0.0, 0.0, 0.0))
    _seen_at: float = float("-inf")
    _times: tuple[float, float] = (0.0, 0.0)
    _times_at: float = float("-inf")

    def load(self) -> Load:
        """At most a second old."""
        if time.monotonic() - self._seen_at >= FRESH_SECONDS:
            self._seen_at = time.monotonic()
            disk = shutil.disk_usage(next(place for place in (self.folder, *self.folder.parents) if place.exists()))
            memory = psutil.virtual_memory()
            sizes = (memory.available, disk.free, disk.total, memory.total)
            self._seen = Load(self._cpu_percent(), *(size / 2**20 for size in sizes))
        return self._seen

    def _cpu_percent(self) -> float:
        """Of all cores together, over the last window; 0 until one has passed."""
        if time.monotonic() - self._times_at < WINDOW_SECONDS:
            return self._seen.cpu_percent
        now = psutil.cpu_times()
        idle = now.idle + getattr(now, "iowait", 0.0)
        total = sum(now) - getattr(now, "guest", 0.0) - getattr(now, "guest_nice", 0.0)
        before, self._times, self._times_at = self._times, (total, idle), time.monotonic()
        passed = total - before[0]
        is_first = before == (0.0, 0.0)
        return 0.0 if is_first or passed <= 0 else max(0.0, 100 * (1 - (idle - before[1]) / passed))


def uptime_of(pid: int) -> float | None:
    """Seconds since the process began; None where there is none."""
    try:
        return max(0.0, time.time() - psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def own_names() -> set[str]:
    """The addresses of this machine, and its name."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = {each.address for all_of in psutil.net_if_addrs().values() for each in all_of if each.family in families}
    name = socket.gethostname()
    return {address for address in found if "%" not in address} | {name, f"{name}.local"}
