"""What agents' processes use: CPU and memory of whole trees, measured over a moment.

All trees are measured by one pass over ``/proc/*/stat``: 5 ms of CPU for 100 agents among 390 processes. To keep the
files of theirs open would save 1.5 ms and cost a descriptor each, and what was born meanwhile would have to be asked of
each process (2 ms), which may miss some while others end (``benchmarks/sampling.py``).
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .process import Identity, boot_id

K = TypeVar("K")
FIRST_SECONDS = 0.2
PROC = "/proc"
HAS_PROC = Path(f"{PROC}/self/stat").exists()


@dataclass(frozen=True)
class Tree:
    """An agent's processes: ``root`` with all below it, and all below ``keeper``, which is no part of it."""

    keeper: Identity | None
    root: Identity | None


@dataclass(frozen=True)
class Usage:
    """What a tree uses: of the CPU since the last look (100 is all cores), resident memory, processes, threads.

    ``cpu_percent`` is None of a tree that was not there at the last look; ``seconds`` are all that it has used so far.
    """

    cpu_percent: float | None
    memory_mb: float
    processes: int
    threads: int
    seconds: float = 0.0


class Process(NamedTuple):
    """One process as the kernel tells of it; ``reaped`` are the CPU seconds of children that have ended.

    One that has ended itself, and waits to be reaped, has no threads: its seconds count, it does not.
    """

    pid: int
    parent: int
    start_time: str
    seconds: float
    reaped: float
    memory_mb: float
    threads: int


@dataclass
class Sampler:
    """Measures trees, again and again."""

    _seconds: dict[Any, float] | None = None
    _at: float = field(default=0.0)

    def look(self, trees: Mapping[K, Tree]) -> dict[K, Usage]:
        """By the trees' names; one of which nothing runs is left out. A first look takes ``FIRST_SECONDS``."""
        if not trees:
            return {}
        if self._seconds is None:
            self.glance(trees)
            time.sleep(FIRST_SECONDS)
        return self.glance(trees)

    def glance(self, trees: Mapping[K, Tree]) -> dict[K, Usage]:
        """As ``look``, at once: at first the CPU's use is unknown."""
        before, began = self._seconds or {}, self._at
        used, self._at = _used(trees), time.monotonic()
        self._seconds = {name: seconds for name, (seconds, _) in used.items()}
        passed = (self._at - began) * (os.cpu_count() or 1)
        return {
            name: Usage(
                max(0.0, seconds - before[name]) / passed * 100 if name in before else None,
                sum(each.memory_mb for each in of_it),
                len(of_it),
                sum(each.threads for each in of_it),
                seconds,
            )
            for name, (seconds, of_it) in used.items()
            if of_it
        }


def _used(trees: Mapping[K, Tree]) -> dict[K, tuple[float, list[Process]]]:
    """The processes of each tree, and their CPU seconds with those of all that they or their keeper have reaped."""
    if not trees:
        return {}
    everything = {each.pid: each for each in (_all_by_proc() if HAS_PROC else _all_elsewhere())}
    children: dict[int, list[int]] = {}
    for each in everything.values():
        children.setdefault(each.parent, []).append(each.pid)
    found = {}
    for name, tree in trees.items():
        keeper = _that_very(tree.keeper, everything)
        roots = [each.pid for each in (keeper, _that_very(tree.root, everything)) if each is not None]
        of_it = [everything[pid] for pid in _with_all_below(roots, children) if keeper is None or pid != keeper.pid]
        seconds = sum(each.seconds + each.reaped for each in of_it) + (keeper.reaped if keeper is not None else 0.0)
        found[name] = (seconds, [each for each in of_it if each.threads])
    return found


def _that_very(who: Identity | None, everything: Mapping[int, Process]) -> Process | None:
    """The process, where it still is the one that is meant and has not ended."""
    if who is None or who.boot_id != boot_id():
        return None
    found = everything.get(who.pid)
    is_it = found is not None and found.threads > 0 and found.start_time == who.start_time
    return found if is_it else None


def _all_by_proc() -> Iterator[Process]:
    ticks, page_mb = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE") / 2**20
    for name in os.listdir(PROC):
        if not name.isdigit():
            continue
        try:
            file = os.open(f"{PROC}/{name}/stat", os.O_RDONLY)
            try:
                stat = os.read(file, 4096)
            finally:
                os.close(file)
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has just ended, or is another user's
            continue
        # The name in brackets may hold anything; the fields behind it do not.
        fields = stat[stat.rindex(b")") + 2 :].split()
        yield Process(
            int(name),
            int(fields[1]),
            fields[19].decode(),
            (int(fields[11]) + int(fields[12])) / ticks,
            (int(fields[13]) + int(fields[14])) / ticks,
            int(fields[21]) * page_mb,
            0 if fields[0] in (b"Z", b"X") else int(fields[17]),
        )


def _all_elsewhere() -> Iterator[Process]:
    """Where there is no ``/proc``: macOS, untested."""
    import psutil

    for each in psutil.process_iter():
        try:
            with each.oneshot():
                times = each.cpu_times()
                ended = each.status() == psutil.STATUS_ZOMBIE
                yield Process(
                    each.pid,
                    each.ppid(),
                    str(each.create_time()),
                    times.user + times.system,
                    times.children_user + times.children_system,
                    each.memory_info().rss / 2**20,
                    0 if ended else each.num_threads(),
                )
        except psutil.Error:
            continue


def _with_all_below(pids: Sequence[int], children: Mapping[int, list[int]]) -> set[int]:
    found, queue = set(pids), list(pids)
    while queue:
        below = set(children.get(queue.pop(), ())) - found
        found |= below
        queue += below
    return found
