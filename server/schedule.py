"""Which tasks to start next: a pure decision over rows that the caller has read (design 4)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

NO_SLOT = "max_parallel agents are at work"


@dataclass(frozen=True)
class Candidate:
    """A task that could start now or in a moment, in ready order."""

    task_id: str
    agent_type: str
    files: tuple[str, ...]
    is_ready: bool = True  # else its last blocker is being merged: it takes a slot in its turn, but is not started


@dataclass(frozen=True)
class Choice:
    """The tasks to start, and for each one passed over the reason why."""

    start: list[str]
    held: dict[str, str]


def choose(
    candidates: Iterable[Candidate],
    *,
    slots: int,
    busy_files: Mapping[str, Sequence[str]],
    instances_left: Mapping[str, int],
) -> Choice:
    """Take candidates in their order while slots last.

    ``busy_files`` holds, by task, the files of those at work: overlapping tasks do not run together (G-18).
    ``instances_left`` bounds an agent type; a type that is not in it has no bound.
    """
    start: list[str] = []
    held: dict[str, str] = {}
    reserved, heir = 0, ""
    taken = dict(busy_files)
    left = dict(instances_left)
    for candidate in candidates:
        rival = next((task for task, files in taken.items() if overlap(candidate.files, files)), None)
        if len(start) + reserved >= slots:
            held[candidate.task_id] = f"a place is kept for task {heir} for a moment" if heir else NO_SLOT
        elif rival is not None:
            held[candidate.task_id] = f"task {rival} works on the same files"
        elif left.get(candidate.agent_type, 1) <= 0:
            held[candidate.task_id] = f"max_instances agents of type {candidate.agent_type} are at work"
        elif not candidate.is_ready:
            reserved, heir = reserved + 1, candidate.task_id
        else:
            start.append(candidate.task_id)
            taken[candidate.task_id] = candidate.files
            if candidate.agent_type in left:
                left[candidate.agent_type] -= 1
    return Choice(start, held)


def overlap(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether a file can belong to both: equal, one within the other's folder, or matched by its pattern."""
    return any(_touch(a, b) for a in ours for b in theirs)


def _touch(a: str, b: str) -> bool:
    a, b = a.removeprefix("./").rstrip("/"), b.removeprefix("./").rstrip("/")
    return a == b or a.startswith(b + "/") or b.startswith(a + "/") or fnmatchcase(a, b) or fnmatchcase(b, a)
