"""Gives a branch that conflicts back to an agent: with what conflicts, what both sides wanted, and the merge begun."""

from collections.abc import Sequence
from pathlib import Path

from . import clock, merges, prompts, saving, stages, workspaces
from .crew import ACTOR, Crew
from .stages import Unmerged
from .store import Row
from .trials import Conflict
from .worktrees import Worktree

FILES_SHOWN = 50
COMMITS_LOOKED_AT = 200


def refuse(crew: Crew, row: Row, conflicts: Sequence[Conflict]) -> None:
    """Record that a merge conflicts; its task goes back to an agent, or to review after too many times.

    To review at once where somebody said which side to take: in these files git has put names aside, and neither side's
    is to be had for sure.
    """
    files = [each.path for each in conflicts]
    shown = ", ".join(map(stages.quoted, files[:FILES_SHOWN])) + (" and more" if len(files) > FILES_SHOWN else "")
    crew.write(
        merges.refused,
        row["merge_id"],
        want="conflicted",
        code="merge_conflicts",
        message=f"Merging into {row['target_branch']} conflicts in {shown}{_in_spite_of(row)}.",
        files=files,
        prompt=_intentions(crew, row, conflicts),
        limit=0 if row["strategy"] else crew.settings.merge.max_attempts,
        now=clock.now(),
        actor=ACTOR,
    )


def bring_in_target(crew: Crew, assignment: Row, worktree: Worktree) -> list[Unmerged]:
    """For a task sent back by a conflict: begin the merge in its worktree; returns what is to be resolved there."""
    last = crew.store.read(merges.latest, assignment["task_id"])
    if last is None or last["status"] != "conflicted":
        return []
    tip, path = crew.repository.require_tip(crew.target), Path(worktree.path)
    if not workspaces.is_merging(crew.repository, path):
        saving.save(crew.repository, path, f"Commit what was left of {worktree.task_id}")
    salvage_ref = workspaces.salvage_ref(worktree.task_id, clock.now())
    rerere = crew.settings.merge.rerere
    return workspaces.begin_merge(crew.repository, path, tip, crew.target, salvage_ref, rerere=rerere)


def _intentions(crew: Crew, row: Row, conflicts: Sequence[Conflict]) -> str:
    target, head = row["target_branch"], row["head_commit"]
    files = [each.path for each in conflicts[:FILES_SHOWN]]
    merged = crew.repository.changed_by(head, f"refs/heads/{target}", files)
    subjects = ["--no-merges", "--format=%s"]
    return prompts.of_conflict(
        target,
        [f"`{stages.quoted(each.path)}`: {_what(each, target)}" for each in conflicts],
        crew.store.read(merges.tasks_behind, list(merged)),
        _log(crew, subjects, f"{head}..refs/heads/{target}", files),
        _log(crew, subjects, f"refs/heads/{target}..{head}", files),
    )


def _in_spite_of(row: Row) -> str:
    return f", which taking {row['strategy']} does not settle" if row["strategy"] else ""


def _what(conflict: Conflict, target: str) -> str:
    if "CONFLICT (binary)" in conflict.types:
        return "a binary file that both sides changed"
    if not conflict.sides:
        return ", ".join(sorted(conflict.types))
    return stages.kind(conflict.sides, target, "your branch")


def _log(crew: Crew, options: Sequence[str], commits: str, files: Sequence[str]) -> list[str]:
    """Lines of `git log` about the files, the newest first; bytes that are no UTF-8 as question marks."""
    text = crew.repository.git("log", f"--max-count={COMMITS_LOOKED_AT}", *options, commits, "--", *files)
    return text.encode(errors="replace").decode().splitlines()
