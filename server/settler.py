"""Settles what the supervisor before left half done on disk, once a new one has taken the lease.

What stands in the database as unfinished is dealt with by the step whose business it is (merger, launcher, janitor).
Here is what stands nowhere: trees of checks, and the half-made entry of a worktree, on which every later ``git
worktree`` of the repository would die.
"""

import logging
import re
import shutil
from pathlib import Path

from . import merging, runners, workspaces, worktrees
from .crew import Crew

log = logging.getLogger(__name__)

CHECK = re.compile(r"merge-\d+-term-\d+")


def settle(crew: Crew) -> None:
    """May be done again at any time while no job is at work."""
    mend_worktree_list(crew)
    _clear_checks(crew)


def mend_worktree_list(crew: Crew) -> None:
    """Strike off git's list what a git that was killed had begun to put there for us. Nothing was checked out yet."""
    ours = {Path(row.path) for row in crew.store.read(worktrees.listed)}
    for entry in crew.repository.half_made():
        if _is_ours(entry, ours, crew.paths.checks):
            crew.require_lease()
            log.warning("removing the half-made worktree entry %s", entry)
            shutil.rmtree(entry)
        else:
            log.warning("%s is half made and not ours; `git worktree` fails until it is removed", entry)


def _is_ours(entry: Path, worktrees_of_ours: set[Path], checks: Path) -> bool:
    """By the folder that it names; where it came to name none, by its own name, which git may have numbered."""
    named = workspaces.named_by(entry)
    if named is not None:
        return named in worktrees_of_ours or named.parent == checks
    names = [path.name for path in worktrees_of_ours]
    return any(re.fullmatch(re.escape(name) + r"\d*", entry.name) for name in names) or bool(CHECK.match(entry.name))


def _clear_checks(crew: Crew) -> None:
    """The logs stay: messages name them."""
    for place in sorted(crew.paths.checks.glob("merge-*")):
        if place.is_dir() and CHECK.fullmatch(place.stem):
            crew.require_lease()
            runners.end_check(place.with_suffix(".log"))
            if place.suffix:
                shutil.rmtree(place, ignore_errors=True)
            else:
                merging.discard(crew.repository, place)
