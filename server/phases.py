"""What a task waited for and when it was worked on, told from what was recorded of it. Pure.

Times are whole milliseconds, so that the parts of a task's time add up to it exactly.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

# In the order in which a task goes through them. `slot`: also the launch itself, and a hold of launches. `proving`: the
# evidence is looked at and the task's own check runs. `merging`: the queue, the merge and its check. `unsupervised`:
# nobody was there to do what came next.
PHASES = (
    "dependencies", "slot", "working", "proving", "approval", "merging", "restart", "unsupervised", "paused",
)  # fmt: skip
IDLE = ("unsupervised", "paused")
WAITS = ("dependencies", "slot", "restart")  # no agent and no merge has the task
DUE = "restart_due"

_BY_ITSELF = ("working", "approval", "paused")
_AFTER = {
    "task_pending": "dependencies",
    "task_ready": "slot",
    "agent_starting": "working",
    "agent_completed": "proving",
    "agent_failed": "restart",
    "agent_killed": "restart",
    "agent_timeout": "restart",
    "agent_lost": "restart",
    "assignment_completed": "merging",
    "merge_queued": "merging",
    "merge_approved": "merging",
    "merge_checking": "merging",
}
_ENDS = ("task_completed", "task_failed", "task_cancelled")
_GIVEN_BACK = ("task_pending", "task_ready", *_ENDS)
KINDS = frozenset((*_AFTER, *_ENDS, "assignment_assigned"))


@dataclass(frozen=True)
class Step:
    """One thing that happened to a task: an event's kind, or DUE. ``awaits``: a merge that was approved later."""

    at: int
    kind: str
    agent_id: str = ""
    awaits: bool = False


@dataclass(frozen=True)
class Span:
    """A task was in this phase. ``taken``: it was in an agent's hands, or waited for its next one, not its first."""

    phase: str
    begin: int
    end: int
    agent_id: str = ""
    taken: bool = False

    @property
    def length(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class Window:
    """A dispatch was open."""

    begin: int
    end: int
    paused: bool


def spans(first: str, created: int, steps: Iterable[Step], until: int) -> list[Span]:
    """The phases of a task from its creation to ``until``; none for the time after it ended.

    ``steps`` as they were recorded: what was noticed late bears its own time, and is moved behind the step before it.
    """
    found: list[Span] = []
    now = Span(first, created, created)
    for step in _in_order(steps):
        if step.kind == DUE and now.phase != "restart":  # it was begun before it was due
            continue
        at = min(max(step.at, now.begin), until)
        phase = _phase(now.phase, step)
        agent_id = step.agent_id if phase == "working" else ""
        is_reserved = step.kind == "assignment_assigned" and phase == "slot" and not now.taken
        taken = step.kind not in _GIVEN_BACK and not is_reserved
        if (phase, agent_id, taken) != (now.phase, now.agent_id, now.taken):
            found.append(replace(now, end=at))
            now = Span(phase, at, at, agent_id, taken)
    found.append(replace(now, end=max(now.begin, until)))
    return [span for span in found if span.phase and span.length]


def _in_order(steps: Iterable[Step]) -> Iterator[Step]:
    latest = 0
    recorded, due = [], []
    for step in steps:
        if step.kind == DUE:
            due.append(step)
        else:
            latest = max(latest, step.at)
            recorded.append(replace(step, at=latest))
    return iter(sorted([*recorded, *due], key=lambda step: step.at))


def _phase(phase: str, step: Step) -> str:
    if step.kind in _ENDS:
        return ""
    if step.kind == DUE:
        return "slot"
    if step.kind == "assignment_assigned":  # the first one gives a ready task to an agent, each later one takes it back
        return "slot" if phase in ("", "slot", "dependencies") else "restart"
    return "approval" if step.kind == "merge_queued" and step.awaits else _AFTER[step.kind]


def in_hand(found: Iterable[Span], windows: Sequence[Window]) -> list[Span]:
    """Those parts in which somebody wanted the task done: its waits count only while a dispatch of it is open."""
    return [part for span in found for part in (_during(span, windows) if span.phase in WAITS else (span,))]


def _during(span: Span, windows: Sequence[Window]) -> Iterator[Span]:
    inside = {moment for window in windows for moment in (window.begin, window.end) if span.begin < moment < span.end}
    for begin, end in pairwise(sorted({span.begin, span.end, *inside})):
        here = [window for window in windows if window.begin <= begin < window.end]
        if any(not window.paused for window in here) or (span.taken and not here):
            yield replace(span, begin=begin, end=end)
        elif here:
            yield replace(span, phase="paused", begin=begin, end=end)


def unsupervised(found: Iterable[Span], gaps: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """The spans, with that of each in which only a supervisor brings the task on as one of its own in each gap.

    The gaps in order, and none within another.
    """
    ends = [end for _, end in gaps]
    for span in found:
        at = span.begin
        for begin, end in gaps[bisect_right(ends, at) :] if span.phase not in _BY_ITSELF else ():
            if begin >= span.end:
                break
            if begin > at:
                yield replace(span, begin=at, end=begin)
            yield replace(span, phase="unsupervised", begin=max(begin, at), end=min(end, span.end))
            at = min(end, span.end)
        if at < span.end:
            yield replace(span, begin=at)


def clipped(found: Iterable[Span], since: int, until: int) -> list[Span]:
    """What of it lies between the two."""
    cut = (replace(span, begin=max(span.begin, since), end=min(span.end, until)) for span in found)
    return [span for span in cut if span.length > 0]
