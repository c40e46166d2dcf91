"""Cleanups that somebody asks for: wishes that the supervisor carries out, one worktree after the other."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from . import clock, hidden, janitor, leftovers, pool, tasks, workspaces, worktrees
from .awaiting import awaited
from .crew import Crew
from .errors import CrewyardError, NotMerged, StillInUse, UncommittedChanges
from .pool import Pooled
from .worktrees import Candidate
from .yard import CleanupOutcome


@dataclass(frozen=True)
class Cleanup:
    """``attend`` is told of the tasks whose worktrees go, before that is asked for."""

    crew: Crew
    attend: Callable[[Collection[str]], None]
    force: bool
    actor: str

    def look(self, task_id: str | None) -> CleanupOutcome:
        """What there is to clean up; nothing is. Raises TaskNotFound, NotFound."""
        resting = [] if task_id is not None else self.crew.store.read(pool.entries)
        return CleanupOutcome([], 0.0, [], [*self._found(task_id), *(self._pooled(entry) for entry in resting)])

    def of(self, task_id: str) -> CleanupOutcome:
        """One task's worktree. Raises TaskNotFound, NotFound, NotMerged, StillInUse, UncommittedChanges."""
        return self._clean(self._found(task_id)[0])

    def of_all(self) -> CleanupOutcome:
        """All that may be removed; that one is refused is reported, and does not keep the others."""
        done = CleanupOutcome([], 0.0, [], [])
        for each in self._found(None):
            wanted = each.ready or (self.force and each.forcible)
            done = _both(done, self._try_to_clean(each) if wanted else CleanupOutcome([], 0.0, [], [each]))
        return done

    def _found(self, task_id: str | None) -> list[Candidate]:
        """All there are, or the task's worktree, or the orphan of that name. Raises TaskNotFound, NotFound."""
        crew = self.crew
        found = leftovers.look(crew.repository, crew.settings, crew.store)
        if task_id is None:
            return found
        of_it = [each for each in found if each.task_id == task_id]
        if not of_it:
            crew.store.read(tasks.get, task_id)
            crew.store.read(worktrees.require_live, task_id)
        return of_it[:1]

    def _try_to_clean(self, candidate: Candidate) -> CleanupOutcome:
        try:
            return self._clean(candidate)
        except CrewyardError as error:
            refused = replace(candidate, ready=False, forcible=False, reason=error.message)
            return CleanupOutcome([], 0.0, [], [refused], refused=1)

    def _clean(self, candidate: Candidate) -> CleanupOutcome:
        crew, task_id = self.crew, candidate.task_id
        if candidate.status == leftovers.ORPHAN:
            return self._clean_orphan(candidate)
        if not candidate.ready and not candidate.forcible:
            raise StillInUse(
                f"{candidate.worktree_path} stays: {candidate.reason}.",
                hint=f"why(subject='{task_id}') tells how its task stands.",
                task_id=task_id,
            )
        self.attend([task_id])
        worktree = crew.store.run(
            worktrees.ask_for_cleanup, task_id, force=self.force, now=clock.now(), actor=self.actor
        )
        done = awaited(
            crew,
            partial(worktrees.get, worktree_id=worktree.worktree_id),
            lambda w: w["kept_because"] is not None or (w["status"] == "cleaned" and w["freed_mb"] is not None),
        )
        if done["status"] != "cleaned":
            dirty = Path(worktree.path).exists() and hidden.is_dirty(crew.repository, Path(worktree.path))
            refused = UncommittedChanges if dirty else NotMerged
            raise refused(
                done["kept_because"],
                hint="Merge it first, or give force=true, which keeps its work under refs/crewyard/salvage.",
                task_id=task_id,
            )
        refs = [done["salvage_ref"]] if done["salvage_ref"] else []
        return CleanupOutcome([task_id], done["freed_mb"], refs, [candidate])

    def _clean_orphan(self, candidate: Candidate) -> CleanupOutcome:
        """It has no row that a wish could be recorded in, and no supervisor touches it: it is removed from here."""
        if not self.force:
            raise NotMerged(
                f"{candidate.worktree_path} stays: {candidate.reason}.",
                hint="`git worktree remove` is yours to call; force=true keeps its work under refs/crewyard/salvage.",
                task_id=candidate.task_id,
            )
        done = janitor.remove_orphan(self.crew, candidate)
        refs = [done.salvage_ref] if done.salvage_ref else []
        return CleanupOutcome([candidate.task_id], done.freed_mb, refs, [candidate])

    def _pooled(self, entry: Pooled) -> Candidate:
        task_id = self.crew.store.read(worktrees.get, entry.worktree_id)["task_id"]
        size = workspaces.size_in_mb(Path(entry.path))
        return Candidate(
            task_id, entry.path, "", "pooled", ready=False, reason="clean, kept for the next task", disk_space_mb=size
        )


def _both(one: CleanupOutcome, other: CleanupOutcome) -> CleanupOutcome:
    return CleanupOutcome(
        one.cleaned_up + other.cleaned_up,
        one.disk_space_freed_mb + other.disk_space_freed_mb,
        one.salvage_refs + other.salvage_refs,
        one.candidates + other.candidates,
        one.refused + other.refused,
    )
