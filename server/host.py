"""The machine that agents run on."""

import os
import shutil
import socket
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .gates import Load
from .machine import Machine, Space

WINDOW_SECONDS = 2.0
FRESH_SECONDS = 1.0
STALE_SECONDS = 60.0
FIRST_SECONDS = 0.2
Times = tuple[tuple[float, float], ...]


@dataclass
class Watch:
    """Looks at the machine now and then; the CPU's load is that between two looks, some seconds apart.

    ``folder`` is where worktrees will lie; while it is missing, the nearest folder above it is looked at.
    """

    folder: Path
    _seen: Machine | None = None
    _seen_at: float = float("-inf")
    _busy: tuple[float, ...] = ()
    _times: Times = ()
    _times_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> Load:
        """At most a second old; the CPU's is 0 until there were two looks."""
        return load_of(self.glance())

    def glance(self) -> Machine:
        """As ``load``, with all that is seen."""
        with self._lock:
            return self._look()

    def at_hand(self) -> Machine | None:
        """What ``look`` would give without looking, if it would; waits for nobody."""
        return self._seen if self._busy and time.monotonic() - self._seen_at < FRESH_SECONDS else None

    def look(self) -> Machine:
        """As ``glance``; takes a moment where no look lies within the last minute, for the CPU's load to be this
        minute's.
        """
        with self._lock:
            if not self._busy or time.monotonic() - self._times_at > STALE_SECONDS:
                self._times, self._times_at = _times_of_cores(), time.monotonic() - WINDOW_SECONDS
                self._seen_at = float("-inf")
                time.sleep(FIRST_SECONDS)
            return self._look()

    def _look(self) -> Machine:
        if self._seen is None or time.monotonic() - self._seen_at >= FRESH_SECONDS:
            looked_at = time.monotonic()
            per_core = self._percent_of_cores()
            memory, swap = psutil.virtual_memory(), psutil.swap_memory()
            disk = shutil.disk_usage(next(place for place in (self.folder, *self.folder.parents) if place.exists()))
            self._seen = Machine(
                statistics.fmean(per_core) if per_core else 0.0,
                per_core,
                os.getloadavg(),
                _space(memory.total, memory.available, memory.total - memory.available),
                _space(swap.total, swap.free, swap.used),
                _space(disk.total, disk.free, disk.used),
            )
            self._seen_at = looked_at  # the last: see ``at_hand``
        return self._seen

    def _percent_of_cores(self) -> tuple[float, ...]:
        """Over the last window; none until one has passed."""
        if time.monotonic() - self._times_at >= WINDOW_SECONDS:
            before, self._times, self._times_at = self._times, _times_of_cores(), time.monotonic()
            if len(before) == len(self._times):  # a core may be taken away
                self._busy = tuple(map(_busy, before, self._times))
        return self._busy


def load_of(machine: Machine) -> Load:
    """What the gates decide by."""
    return Load(
        machine.cpu_percent,
        machine.memory.available,
        machine.disk.available,
        machine.disk.total,
        machine.memory.total,
        machine.memory.percent,
        machine.disk.percent,
    )


def _times_of_cores() -> Times:
    """Seconds since the boot, and of these the idle ones, of each core."""
    return tuple(
        (
            sum(core) - getattr(core, "guest", 0.0) - getattr(core, "guest_nice", 0.0),
            core.idle + getattr(core, "iowait", 0.0),
        )
        for core in psutil.cpu_times(percpu=True)
    )


def _busy(before: tuple[float, float], after: tuple[float, float]) -> float:
    passed = after[0] - before[0]
    return 0.0 if passed <= 0 else min(100.0, max(0.0, 100 * (1 - (after[1] - before[1]) / passed)))


def _space(total: float, available: float, used: float) -> Space:
    """From bytes. What is full is what cannot be taken any more: of a disk, what is kept for root counts in neither."""
    whole = used + available
    return Space(total / 2**20, available / 2**20, used / 2**20, 100 * used / whole if whole else 0.0)


def own_names() -> set[str]:
    """The addresses of this machine, and its name."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = {each.address for all_of in psutil.net_if_addrs().values() for each in all_of if each.family in families}
    name = socket.gethostname()
    return {address for address in found if "%" not in address} | {name, f"{name}.local"}
