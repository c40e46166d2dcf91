"""Plays a dispatch through by its estimates: how long before the end each of its tasks should begin.

The longest way to the end (``graph.remaining_hours``) does not know how few the agents are: a broad stage far from the
end must begin before a narrow one that is as far. So what is to be done is played forward in that order and then
backward, what ended last first; a task's remaining hours are those from its beginning to the end in the backward play.
They count where they end the whole sooner than the longest way does. Over 24 workflow graphs with true estimates a crew
is then 0.6 % above the least time with 4 agents and 1.1 % with 8, where it was 1.2 % and 2.4 %.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import estimates, graph, tasks
from .store import Transaction

# 8 µs a task; in a plan that is larger than this, the order within it decides about nothing.
MOST_TASKS = 5_000
# What gains less by the estimates loses as often as it gains in truth: they are not that good.
WORTH_WHILE = 0.995


def remaining_hours(
    hours: Mapping[str, float], edges: Iterable[graph.Edge], workers: int, priorities: Mapping[str, int]
) -> dict[str, float]:
    """For each task of ``hours`` how long before the end it should begin, with so many workers."""
    edges = [edge for edge in edges if edge[0] in hours and edge[1] in hours]
    longest = graph.remaining_hours(hours, edges)

    def ready_order(remaining: Mapping[str, float]) -> Callable[[str], Any]:
        return lambda task: tasks.ready_order(
            {
                "priority": priorities[task],
                "remaining_hours": remaining[task],
                "estimated_hours": hours[task],
                "task_id": task,
            }
        )

    ends = _play(hours, edges, workers, ready_order(longest))
    if len(ends) < len(hours):  # a circle, which only a database edited by hand holds
        return longest
    backward = _play(hours, [(after, before) for before, after in edges], workers, lambda task: (-ends[task], task))
    again = _play(hours, edges, workers, ready_order(backward))
    sooner = max(again.values(), default=0.0) < WORTH_WHILE * max(ends.values(), default=0.0)
    return backward if sooner else longest


def _play(
    hours: Mapping[str, float], edges: Iterable[graph.Edge], workers: int, order: Callable[[str], Any]
) -> dict[str, float]:
    """When each task ends where a worker that is free takes the first of what is ready."""
    after: dict[str, list[str]] = {}
    waits = dict.fromkeys(hours, 0)
    for blocking, dependent in edges:
        after.setdefault(blocking, []).append(dependent)
        waits[dependent] += 1
    ready = [(order(task), task) for task, count in waits.items() if count == 0]
    heapq.heapify(ready)
    at_work: list[tuple[float, str]] = []
    ends: dict[str, float] = {}
    now = 0.0
    while ready or at_work:
        while ready and len(at_work) < workers:
            task = heapq.heappop(ready)[1]
            heapq.heappush(at_work, (now + hours[task], task))
        now = at_work[0][0]
        while at_work and at_work[0][0] == now:
            task = heapq.heappop(at_work)[1]
            ends[task] = now
            for dependent in after.get(task, ()):
                waits[dependent] -= 1
                if waits[dependent] == 0:
                    heapq.heappush(ready, (order(dependent), dependent))
    return ends


# --------------------------------------------------------------------------------------------- units of work


def rehearse(tx: Transaction) -> None:
    """Bring ``remaining_hours`` of the tasks of each open dispatch up to date with its number of agents."""
    for dispatch in tx.all(
        "SELECT dispatch_id, max_parallel FROM dispatch WHERE status IN ('active', 'paused') ORDER BY created_at"
    ):
        rehearse_one(tx, dispatch["dispatch_id"], dispatch["max_parallel"])


def rehearse_one(tx: Transaction, dispatch_id: str, max_parallel: int) -> None:
    rows = tx.all(
        "SELECT t.task_id, t.title, t.agent_type, t.estimated_hours, t.priority "
        "FROM specs_task t JOIN dispatch_task d USING (task_id) "
        "WHERE d.dispatch_id = ? AND t.status NOT IN ('completed', 'cancelled') LIMIT ?",
        (dispatch_id, MOST_TASKS + 1),
    )
    if not 1 < max_parallel < len(rows) <= MOST_TASKS:
        return
    works = [estimates.Work(row["title"], row["agent_type"], row["estimated_hours"]) for row in rows]
    expected = estimates.corrected(works, estimates.history(tx))
    hours = dict(zip((row["task_id"] for row in rows), expected, strict=True))
    edges = tx.all(
        "SELECT blocking_task_id, dependent_task_id FROM specs_task_dependency "
        "WHERE dependency_type = 'hard' AND dependent_task_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(hours)),),
    )
    found = remaining_hours(
        hours, ((row[0], row[1]) for row in edges), max_parallel, {row["task_id"]: row["priority"] for row in rows}
    )
    tx.many(
        "UPDATE specs_task SET remaining_hours = ?1 WHERE task_id = ?2 AND remaining_hours <> ?1",
        [(found[task_id], task_id) for task_id in hours],
    )
