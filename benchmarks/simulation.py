"""Graphs of tasks, worked off in no time by workers that take what an order gives them.

The order of ours is the server's own code: `rehearsals.remaining_hours`, `tasks.ready_order`, `schedule.choose`.
"""

import heapq
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bounds import children_of

from crewyard.server import rehearsals, schedule, tasks

PRIORITY = 5


@dataclass(frozen=True)
class Dag:
    """Tasks by number: what each is called, how long it takes in truth, and which it waits for."""

    name: str
    titles: Sequence[str]
    seconds: Sequence[float]
    parents: Sequence[Sequence[int]]


class Order(Protocol):
    def pick(self, ready: Sequence[int], slots: int) -> list[int]:
        """Which to start, of the ``ready`` ones in the order in which they became so."""


class FirstCome:
    def pick(self, ready: Sequence[int], slots: int) -> list[int]:
        return list(ready[:slots])


class LongestFirst:
    """The longest task first, whatever waits for it."""

    def __init__(self, estimates: Sequence[float]) -> None:
        self._estimates = estimates

    def pick(self, ready: Sequence[int], slots: int) -> list[int]:
        return sorted(ready, key=lambda task: (-self._estimates[task], task))[:slots]


class Ours:
    """The dispatcher's order. Nothing here has files or is bounded by type, so no candidate is passed over."""

    def __init__(self, dag: Dag, estimates: Sequence[float], workers: int) -> None:
        self._ids = [f"T{task:06}" for task in range(len(dag.seconds))]
        hours = dict(zip(self._ids, estimates, strict=True))
        edges = [(self._ids[parent], self._ids[task]) for task, own in enumerate(dag.parents) for parent in own]
        remaining = rehearsals.remaining_hours(hours, edges, workers, dict.fromkeys(self._ids, PRIORITY))
        self._keys = [
            tasks.ready_order(
                {
                    "priority": PRIORITY,
                    "remaining_hours": remaining[each],
                    "estimated_hours": hours[each],
                    "task_id": each,
                }
            )
            for each in self._ids
        ]

    def pick(self, ready: Sequence[int], slots: int) -> list[int]:
        first = heapq.nsmallest(slots, ready, key=self._keys.__getitem__)
        numbers = {self._ids[task]: task for task in first}
        candidates = [schedule.Candidate(task_id, "agent", ()) for task_id in numbers]
        choice = schedule.choose(candidates, slots=slots, busy_files={}, instances_left={})
        return [numbers[task_id] for task_id in choice.start]


def makespan(dag: Dag, workers: int, order: Order) -> float:
    """Seconds until all is done, with nothing lost between one task and the next."""
    children, left = children_of(dag.parents), [len(own) for own in dag.parents]
    ready = [task for task, count in enumerate(left) if not count]
    at_work: list[tuple[float, int]] = []
    now = 0.0
    while ready or at_work:
        for task in order.pick(ready, workers - len(at_work)) if len(at_work) < workers else ():
            ready.remove(task)
            heapq.heappush(at_work, (now + dag.seconds[task], task))
        now = at_work[0][0]
        while at_work and at_work[0][0] == now:
            task = heapq.heappop(at_work)[1]
            for child in children[task]:
                left[child] -= 1
                if not left[child]:
                    ready.append(child)
    return now


def loaded(folder: Path) -> list[Dag]:
    """The graphs of a folder: JSON files whose ``tasks`` are lists of [name, seconds, [numbers of parents]]."""
    found = []
    for path in sorted(folder.glob("*.json")):
        titles, seconds, parents = zip(*json.loads(path.read_text(encoding="utf-8"))["tasks"], strict=True)
        found.append(Dag(path.stem, titles, seconds, parents))
    return found


def made_up(count: int, seed: int) -> Iterator[Dag]:
    """Graphs of stages: a stage's tasks are of one kind, take about equally long, and wait for an earlier stage's."""
    chance = random.Random(seed)
    for number in range(count):
        titles: list[str] = []
        seconds: list[float] = []
        parents: list[list[int]] = []
        stages: list[range] = []
        for stage in range(chance.randint(3, 9)):
            usual, width = chance.lognormvariate(3.0, 1.0), chance.choice((1, 4, 10, 30, 60))
            before = chance.choice(stages[-2:]) if stages else range(0)
            for _ in range(width):
                parents.append(chance.sample(before, min(len(before), chance.choice((1, 1, 2, 60)))))
                titles.append(f"stage {chr(97 + stage)}, task {len(titles)}")
                seconds.append(usual * chance.lognormvariate(0.0, 0.4))
            stages.append(range(len(titles) - width, len(titles)))
        yield Dag(f"made up {number}", titles, seconds, parents)
