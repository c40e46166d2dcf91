"""The least time in which a graph of tasks can be done by so many workers, whoever orders them.

max(critical path, work / workers) is loose: at a graph's narrow ends workers must idle, whatever is done first. So sets
of tasks are looked at of which none can start before ``head``, and which ``tail`` must follow: such a set takes at
least head + its work / workers + tail. The sets are cut by level: all tasks with a head of at least so much and a tail
of at least so much, for each pair of levels.
"""

from collections.abc import Sequence
from itertools import accumulate


def least_makespan(seconds: Sequence[float], parents: Sequence[Sequence[int]], workers: int) -> float:
    """In seconds. O(n²) for n tasks."""
    order = in_order(parents)
    heads, tails = _heads(seconds, parents, order), _tails(seconds, parents, order)
    least = max(head + own + tail for head, own, tail in zip(heads, seconds, tails, strict=True))
    by_tail = sorted(range(len(seconds)), key=lambda task: -tails[task])
    place = {task: number for number, task in enumerate(by_tail)}
    work = [0.0] * len(seconds)  # by place, of those whose head is high enough
    for task in sorted(range(len(seconds)), key=lambda task: -heads[task]):
        work[place[task]] = seconds[task]
        levels = zip(accumulate(work), by_tail, strict=True)
        least = max(
            least, heads[task] + max((done / workers + tails[each] for done, each in levels if done), default=0)
        )
    return least


def in_order(parents: Sequence[Sequence[int]]) -> list[int]:
    """The tasks, each behind its parents."""
    left = [len(each) for each in parents]
    children = children_of(parents)
    order = [task for task, count in enumerate(left) if not count]
    for task in order:  # which grows meanwhile
        for child in children[task]:
            left[child] -= 1
            if not left[child]:
                order.append(child)
    return order


def children_of(parents: Sequence[Sequence[int]]) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in parents]
    for task, own in enumerate(parents):
        for parent in own:
            children[parent].append(task)
    return children


def _heads(seconds: Sequence[float], parents: Sequence[Sequence[int]], order: Sequence[int]) -> list[float]:
    """When each could start at the earliest, with any number of workers."""
    heads = [0.0] * len(seconds)
    for task in order:
        heads[task] = max((heads[parent] + seconds[parent] for parent in parents[task]), default=0.0)
    return heads


def _tails(seconds: Sequence[float], parents: Sequence[Sequence[int]], order: Sequence[int]) -> list[float]:
    """What must follow each, with any number of workers."""
    tails = [0.0] * len(seconds)
    for task in reversed(order):
        for parent in parents[task]:
            tails[parent] = max(tails[parent], seconds[task] + tails[task])
    return tails
