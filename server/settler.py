"""Settles what the supervisor before left half done on disk, once a new one has taken the lease.

What stands in the database as unfinished is dealt with by the step whose business it is (merger, launcher, janitor).
Here is what stands nowhere: trees of checks, and the half-made entry of a worktree, on which every later ``git
worktree`` of the repository would die.
"""

import logging
import re
import shutil
from pathlib import Path

from . import agents, credentials, following, merges, merging, recycler, runners, saving, workspaces, worktrees
from .crew import Crew
from .worktrees import Worktree

log = logging.getLogger(__name__)

CHECK = re.compile(r"merge-\d+-term-\d+")


def settle(crew: Crew) -> None:
    """May be done again at any time while no job is at work."""
    mend_worktree_list(crew)
    recycler.settle(crew)
    _clear_ref_locks(crew)
    _clear_checks(crew)
    _take_checkouts_back(crew)
    _remove_credentials(crew)


def mend_worktree_list(crew: Crew) -> None:
    """Mend, or strike off git's list, what a git that was killed left there unreadable.

    Of a worktree that was ready its entry is written again, for there may be work in it; one that was still being made
    is begun anew.
    """
    for entry in crew.repository.half_made():
        crew.require_lease()
        row = _ours(entry, crew.store.read(worktrees.listed))
        if row is not None and row.status != "creating":
            log.warning("mending git's entry %s", entry)
            crew.repository.mend_entry(entry, Path(row.path), row.branch)
        elif row is not None or _is_of_a_check(entry, crew.paths.checks):
            log.warning("removing git's half-made entry %s", entry)
            shutil.rmtree(entry)
            if row is not None:
                workspaces.remove_bare_start(Path(row.path))
        else:
            log.warning("%s is half made and not ours; `git worktree` fails until it is removed", entry)


def _ours(entry: Path, rows: list[Worktree]) -> Worktree | None:
    """By the folder that the entry names, or that names the entry; else by its name, which git may have numbered."""
    named = workspaces.named_by(entry)
    for row in rows:
        if workspaces.names_entry(Path(row.path), entry):
            return row
    for row in rows:
        name = re.escape(Path(row.path).name)
        if named == Path(row.path) or (named is None and re.fullmatch(name + r"\d*", entry.name)):
            return row
    return None


def _is_of_a_check(entry: Path, checks: Path) -> bool:
    named = workspaces.named_by(entry)
    return bool(CHECK.match(entry.name)) if named is None else named.parent == checks


def _clear_checks(crew: Crew) -> None:
    """The logs stay that messages name."""
    for log_file in crew.paths.checks.glob("merge-*-term-*.log"):
        if crew.store.read(merges.has_refused, int(log_file.name.split("-")[1])) is False:
            crew.require_lease()
            runners.end_check(log_file)
            log_file.unlink(missing_ok=True)
    for place in sorted(crew.paths.checks.glob("merge-*")):
        if place.is_dir() and CHECK.fullmatch(place.stem):
            crew.require_lease()
            runners.end_check(place.with_suffix(".log"))
            if place.suffix:
                shutil.rmtree(place, ignore_errors=True)
            else:
                merging.discard(crew.repository, place)


def _clear_ref_locks(crew: Crew) -> None:
    """Those of branches and salvage refs of ours: no git of the last supervisor's is at work any more."""
    names = (f"heads/{crew.target}.lock", f"heads/{crew.paths.branch('*')}.lock", "crewyard/**/*.lock")
    for name in names:
        for lock in (crew.repository.common_dir / "refs").glob(name):
            crew.require_lease()
            log.warning("removing %s, which a killed git left", lock)
            saving.remove_lock(lock)


def _take_checkouts_back(crew: Crew) -> None:
    """The user's, where one was just being brought to a new tip."""
    for checkout in following.cut_off(crew.repository):
        crew.require_lease()
        following.take_back(crew.repository, checkout)


def _remove_credentials(crew: Crew) -> None:
    """Of agents that have ended: a supervisor that was stopped while it launched one may have written them late."""
    at_work = {Path(row["run_dir"]) for row in crew.store.read(agents.live)}
    for run_dir in credentials.left(crew.paths) - at_work:
        crew.require_lease()
        credentials.remove(run_dir)
