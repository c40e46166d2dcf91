"""How long a crew took for its tasks, where the time went, and what determined it. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .facts import Task
from .phases import IDLE, PHASES, Span


@dataclass(frozen=True)
class Link:
    """A part of the critical path: a task in a phase; ``cause`` is the task that it waited for."""

    task_id: str
    phase: str
    begin: int
    end: int
    cause: str = ""


def time_by_phase(tasks: Iterable[Task]) -> dict[str, int]:
    """Milliseconds of all tasks together in each phase."""
    found = dict.fromkeys(PHASES, 0)
    for task in tasks:
        for span in task.spans:
            found[span.phase] += span.length
    return found


def union(parts: Iterable[tuple[int, int]]) -> int:
    """How long at least one of the parts lasted."""
    total, reached = 0, 0
    for begin, end in sorted(parts):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def elapsed(tasks: Iterable[Task]) -> int:
    """Milliseconds in which a task was in hand; of one run that nobody interrupted, how long it took."""
    return union((span.begin, span.end) for task in tasks for span in task.spans if span.phase not in IDLE)


def critical_path(tasks: Sequence[Task], blockers: Mapping[str, Sequence[str]]) -> list[Link]:
    """The chain of work and waits that determined when the last completed task was done, first link first.

    The links follow each other without a gap: shorten none of them, and it ends no earlier.
    """
    known = {task.task_id: task for task in tasks if task.spans}
    done = [(task.spans[-1].end, task.task_id) for task in known.values() if task.status == "completed"]
    if not done:
        return []
    moment, last = max(done)
    return _Walk(known, blockers, _crews(known.values())).back_from(last, moment)


@dataclass
class _Walk:
    tasks: Mapping[str, Task]
    blockers: Mapping[str, Sequence[str]]
    crews: Mapping[str, "_Crew"]

    def back_from(self, task_id: str, moment: int) -> list[Link]:
        links: list[Link] = []
        been: set[tuple[str, int]] = set()
        while (task_id, moment) not in been:
            been.add((task_id, moment))
            task = self.tasks[task_id]
            span = next((span for span in task.spans if span.begin < moment <= span.end), None)
            if span is None:
                break
            since, cause = self._cause(task, span, moment)
            if since < moment:
                _put_before(links, Link(task_id, span.phase, since, moment, cause))
            task_id, moment = cause or task_id, since
        return links[::-1]

    def _cause(self, task: Task, span: Span, moment: int) -> tuple[int, str]:
        """When what ended this wait happened, and by which task; else the span's beginning, and none."""
        ends: list[tuple[int, str]] = []
        if span.phase == "dependencies":
            known = (self.tasks[each] for each in self.blockers.get(task.task_id, ()) if each in self.tasks)
            ends = [(each.spans[-1].end, each.task_id) for each in known if each.status == "completed"]
        elif span.phase == "slot":
            full = (crew for name, crew in self.crews.items() if name in task.dispatches)
            ends = [crew.last_end(moment) for crew in full if crew.at_work(span.begin) >= (task.slots or 1)]
        return max(((end, name) for end, name in ends if span.begin < end <= moment), default=(span.begin, ""))


def _put_before(links: list[Link], link: Link) -> None:
    """Add an earlier link; parts of one wait are one link."""
    later = links[-1] if links else None
    if later is not None and (later.task_id, later.phase) == (link.task_id, link.phase) and not later.cause:
        links[-1] = replace(link, end=later.end)
    else:
        links.append(link)


@dataclass(frozen=True)
class _Crew:
    """When agents of one dispatch began and ended, each in order; the ends with their tasks."""

    begins: list[int]
    ends: list[tuple[int, str]]

    def at_work(self, moment: int) -> int:
        return bisect_right(self.begins, moment) - bisect_left(self.ends, (moment + 1, ""))

    def last_end(self, moment: int) -> tuple[int, str]:
        index = bisect_left(self.ends, (moment + 1, ""))
        return self.ends[index - 1] if index else (0, "")


def _crews(tasks: Iterable[Task]) -> dict[str, _Crew]:
    work: dict[str, list[tuple[int, int, str]]] = {}
    for task in tasks:
        for name in task.dispatches:
            spans = [(span.begin, span.end, task.task_id) for span in task.spans if span.phase == "working"]
            work.setdefault(name, []).extend(spans)
    return {
        name: _Crew(sorted(begin for begin, _, _ in spans), sorted((end, task_id) for _, end, task_id in spans))
        for name, spans in work.items()
    }
