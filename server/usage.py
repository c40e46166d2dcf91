"""What agents' processes use: CPU and memory of whole trees, measured over a moment."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import psutil

from .process import Identity, is_alive

K = TypeVar("K")
FIRST_SECONDS = 0.2


@dataclass(frozen=True)
class Tree:
    """An agent's processes: ``root`` with all below it, and all below ``keeper``, which is no part of it."""

    keeper: Identity | None
    root: Identity | None


@dataclass(frozen=True)
class Usage:
    """What a tree uses: of the CPU since the last look (100 is all cores), resident memory, and how many it is."""

    cpu_percent: float
    memory_mb: float
    processes: int


@dataclass
class Sampler:
    """Measures trees, again and again; a first look takes ``FIRST_SECONDS``."""

    _seconds: dict[object, float] | None = None
    _at: float = field(default=0.0)

    def look(self, trees: Mapping[K, Tree]) -> dict[K, Usage]:
        """By the trees' names; one of which nothing runs is left out."""
        if not trees:
            return {}
        if self._seconds is None:
            self._measure(trees)
            time.sleep(FIRST_SECONDS)
        return self._measure(trees)

    def _measure(self, trees: Mapping[K, Tree]) -> dict[K, Usage]:
        before, began = self._seconds or {}, self._at
        used, self._at = _used(trees), time.monotonic()
        self._seconds = {name: seconds for name, (seconds, _, _) in used.items()}
        passed = (self._at - began) * (os.cpu_count() or 1)
        return {
            name: Usage(max(0.0, seconds - before.get(name, seconds)) / passed * 100, memory, processes)
            for name, (seconds, memory, processes) in used.items()
        }


def _used(trees: Mapping[K, Tree]) -> dict[K, tuple[float, float, int]]:
    """CPU seconds, those of children already reaped included, resident MiB, and number of processes of each tree."""
    facts: dict[int, tuple[float, float]] = {}
    children: dict[int, list[int]] = {}
    for each in psutil.process_iter():
        try:
            with each.oneshot():
                memory = each.memory_info().rss / 2**20
                facts[each.pid] = (sum(each.cpu_times()[:4]), memory)
                children.setdefault(each.ppid(), []).append(each.pid)
        except psutil.Error:
            continue
    found = {}
    for name, tree in trees.items():
        alive = {who.pid for who in (tree.keeper, tree.root) if who is not None and is_alive(who)}
        pids = _with_all_below(alive, children)
        if tree.keeper is not None:
            pids.discard(tree.keeper.pid)
        if of_it := [facts[pid] for pid in pids if pid in facts]:
            found[name] = (sum(cpu for cpu, _ in of_it), sum(memory for _, memory in of_it), len(of_it))
    return found


def _with_all_below(pids: set[int], children: Mapping[int, list[int]]) -> set[int]:
    found, queue = set(pids), list(pids)
    while queue:
        below = set(children.get(queue.pop(), ())) - found
        found |= below
        queue += below
    return found
