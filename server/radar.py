"""Looks out for branches that would collide, long before they are merged (design 6).

Pairs of unfinished branches are merged in memory after commits, and each branch with the integration branch once that
has moved. Only what has changed since the last look is tried again, so a look at rest asks git one thing at most.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from . import agents, clock, collisions, trials
from .collisions import Branch, Finding
from .crew import ACTOR, Crew
from .errors import GitError
from .repository import Repository
from .store import Row, Transaction

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
ROUND_SECONDS = 2.0
RESTS = 10  # times as long as it looked: merges and launches, which somebody waits for, need the processor as well
FILES_ASKED = 100
TARGET = ""  # in place of a task's id: the integration branch
# After these a look does not wait for its time: a branch is at rest or has gone, or the target has moved.
_NEWS = ("agent_completed", "agent_failed", "agent_killed", "agent_timeout", "agent_lost", "merge_merged",
         "worktree_cleaned", "assignment_failed", "assignment_cancelled")  # fmt: skip

Pair = tuple[str, str]
Tried = dict[str, tuple[str, str, int]]  # of each task, what was last tried on the target


@dataclass(frozen=True)
class Picture:
    """The unfinished branches at one moment: their tips by task, the target's as ``TARGET``; and what was merged."""

    heads: dict[str, str]
    bases: dict[str, str]
    rows: list[Row]
    merged: int

    @property
    def task_ids(self) -> list[str]:
        """The one that began first in front."""
        return [task_id for task_id in self.heads if task_id != TARGET]

    def gone(self) -> list[Pair]:
        """The pairs on record that are none any more: a branch of theirs is merged, given up or begun anew."""
        live = set(combinations(self.task_ids, 2))
        return [
            pair
            for row in self.rows
            if (pair := (row["earlier_task"], row["later_task"])) not in live
            and not (row["is_merged"] and pair[1] in self.heads)
        ]


@dataclass
class Radar:
    """Remembers what was tried already; losing that costs the time to try it again."""

    _next: float = 0.0
    _rested: float = 0.0
    _event: int = 0
    _last: Pair = (TARGET, "")
    _tried: Tried = field(default_factory=dict)
    _refused: set[Pair] = field(default_factory=set)  # commits that git cannot merge at all

    def is_due(self, crew: Crew) -> bool:
        if self.seconds_to_rest() is not None:
            return False
        if crew.store.read(_has_news, self._event):
            return True
        return time.monotonic() >= self._next and bool(crew.store.read(agents.live))

    def seconds_to_rest(self) -> float | None:
        """Until news are looked at again; None where they are now."""
        left = self._rested - time.monotonic()
        return left if left > 0 else None

    def look(self, crew: Crew) -> None:
        """Try what has changed, for two seconds at most, and tell whom it concerns; the next look goes on."""
        began = time.monotonic()
        self._next = began + LOOK_SECONDS
        try:
            self._look(crew)
        finally:
            ended = time.monotonic()
            self._rested = ended + RESTS * (ended - began)

    def _look(self, crew: Crew) -> None:
        self._event = crew.store.read(_latest_event)
        branches, rows = crew.store.read(collisions.unfinished), crew.store.read(collisions.pairs)
        if not branches and not rows:
            return
        seen = _picture(crew, branches, rows)
        tried = {task_id: what for task_id, what in self._tried.items() if task_id in seen.heads}
        self._tried = {}  # until it is written down, what is found now counts as not tried
        found, gone = self._probe(crew, seen, tried), seen.gone()
        if found or gone or crew.store.read(collisions.has_untold):
            crew.write(collisions.take_down, found, gone, now=clock.now(), actor=ACTOR)
        self._tried = tried

    def _probe(self, crew: Crew, seen: Picture, tried: Tried) -> list[Finding]:
        found: list[Finding] = []
        due = self._due(seen, tried)
        if not due:
            return found
        deadline = time.monotonic() + ROUND_SECONDS
        with crew.repository.scratch() as git:
            for pair in due:
                if time.monotonic() >= deadline or crew.stopping.is_set():
                    break
                self._last = pair
                found += self._try(crew, git, pair, seen)
                if pair[0] == TARGET:
                    tried[pair[1]] = _with_target(seen, pair[1])
        return found

    def _due(self, seen: Picture, tried: Tried) -> list[Pair]:
        """Pairs of which a head has changed, from where the last look left off."""
        known = {
            (row["earlier_task"], row["later_task"]): (row["earlier_head"], row["later_head"]) for row in seen.rows
        }
        due = [
            pair
            for pair in combinations(seen.task_ids, 2)
            if known.get(pair) != (heads := (seen.heads[pair[0]], seen.heads[pair[1]])) and heads not in self._refused
        ]
        if TARGET in seen.heads:
            moved = [task_id for task_id in seen.task_ids if seen.bases[task_id] != seen.heads[TARGET]]
            due += [(TARGET, task_id) for task_id in moved if tried.get(task_id) != _with_target(seen, task_id)]
        due.sort()
        return [pair for pair in due if pair > self._last] + [pair for pair in due if pair <= self._last]

    def _of_their_own(self, git: Repository, seen: Picture, pair: Pair, files: Sequence[str]) -> list[str]:
        """Those in which they conflict by what they have changed themselves; a file may have two names by now."""
        one, other = (_own(git, seen, task_id) for task_id in pair)
        return [name for name in files if name in one | other] if one & other else []

    def _try(self, crew: Crew, git: Repository, pair: Pair, seen: Picture) -> list[Finding]:
        first, second = pair
        heads = seen.heads[first], seen.heads[second]
        try:
            files = trials.attempt(git, *heads, crew.settings.merge.union).files
            if first != TARGET and files:
                files = self._of_their_own(git, seen, pair, files)
            if first != TARGET:
                return [Finding(first, second, heads, files)]
            by_task = _merged_meanwhile(crew, git, heads, files) if files else {}
        except GitError as error:  # unrelated histories, say; whoever merges them is told
            self._refused.add(heads)
            log.warning("%s and %s cannot be tried on each other: %s", first or crew.target, second, error.message)
            return []
        before = [row["earlier_task"] for row in seen.rows if row["later_task"] == second and row["is_merged"]]
        cleared: dict[str, list[str]] = {task_id: [] for task_id in before}
        return [Finding(task_id, second, heads, names) for task_id, names in (cleared | by_task).items()]


def _own(git: Repository, seen: Picture, task_id: str) -> set[str]:
    """The files that a branch itself has changed; it may have begun on what others had merged by then."""
    head = seen.heads[task_id]
    return git.changed_files(git.git("merge-base", seen.heads.get(TARGET, seen.bases[task_id]), head), head)


def _picture(crew: Crew, branches: Sequence[Branch], rows: list[Row]) -> Picture:
    tips = crew.repository.tips([crew.target, *(branch.name for branch in branches)])
    heads = {TARGET: tips[crew.target]} if crew.target in tips else {}
    heads |= {b.task_id: tips[b.name] for b in branches if tips.get(b.name, b.base_commit) != b.base_commit}
    return Picture(heads, {b.task_id: b.base_commit for b in branches}, rows, crew.store.read(collisions.merges_so_far))


def _with_target(seen: Picture, task_id: str) -> tuple[str, str, int]:
    """What a try on the target depends on. The branch moves a moment before its merge is recorded; hence the number."""
    return seen.heads[TARGET], seen.heads[task_id], seen.merged


def _merged_meanwhile(crew: Crew, git: Repository, heads: Pair, files: Sequence[str]) -> dict[str, list[str]]:
    """The merged tasks that a branch conflicts with, and in which files each.

    A file that was renamed has another name there; then it counts who changed any file that the branch changed.
    """
    tip, head = heads
    by_commit = git.changed_by(head, tip, files[:FILES_ASKED])
    tasks = crew.store.read(collisions.merged_as, by_commit)
    if not tasks:
        base = git.git("merge-base", tip, head)
        by_commit = git.changed_by(head, tip, sorted(git.changed_files(base, head))[:FILES_ASKED])
        tasks = crew.store.read(collisions.merged_as, by_commit)
    found: dict[str, list[str]] = {}
    for commit, task_id in tasks.items():
        found[task_id] = [name for name in by_commit[commit] if name in files] or list(files)
    return found


def _has_news(tx: Transaction, after: int) -> bool:
    marks = ", ".join("?" for _ in _NEWS)
    return tx.one(f"SELECT 1 FROM event WHERE event_id > ? AND kind IN ({marks}) LIMIT 1", (after, *_NEWS)) is not None


def _latest_event(tx: Transaction) -> int:
    return int(tx.value("SELECT coalesce(max(event_id), 0) FROM event"))
