"""Commits what an agent left in its worktree, and refuses what a commit would lose (contract 7)."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import stages, unmerged
from .errors import UncommittedChanges
from .history import Change
from .repository import Repository

LOCK_SECONDS = 2.0
# Work of an agent that was ended is saved whatever the user's hooks and signing set-up think of it.
_UNHINDERED = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false")


ROUNDS = 2  # a hook may change files that it does not stage
Commit = Callable[[Path, list[str]], None]


def save(repository: Repository, path: Path, message: str, commit: Commit | None = None) -> None:
    """Commit whatever is uncommitted there, a merge in progress included; by ``commit``, or past the user's hooks.

    Raises UncommittedChanges, naming the files, for conflicts that are left and for what a commit does not hold:
    repositories inside the worktree, and changes inside submodules.
    """
    remove_stale_locks(repository, path)
    merging = repository.operation_in_progress(path) == "merge"
    if not merging and not repository.has_changes(path):
        return
    if left := unmerged.unresolved(repository, path):
        names = ", ".join(map(stages.quoted, left))
        raise UncommittedChanges(
            f"Conflicts are left in {names}.",
            hint="Edit them; a file without markers that is right as it stands needs `git add`.",
            files=left,
        )
    _refuse(unsalvageable(repository, path))
    unmerged.remember(repository, path)
    words = ["--no-edit"] if merging else ["--cleanup=whitespace", "-m", message]
    for _ in range(ROUNDS):
        repository.git("add", "--all", "--sparse", at=path)  # files beside a sparse checkout's folders too
        if commit is None:
            _commit_unhindered(repository, path, words)
        else:
            commit(path, words)
        if not repository.has_changes(path):
            return
        words = ["--cleanup=whitespace", "-m", message]
    raise UncommittedChanges(f"{path} still holds changes that could not be committed.", path=str(path))


def _commit_unhindered(repository: Repository, path: Path, words: list[str]) -> None:
    repository.git(*_UNHINDERED, "commit", "--quiet", "--no-verify", *words, at=path, env=repository.identity())


def unsalvageable(repository: Repository, path: Path) -> list[str]:
    """Folders whose content no commit here would hold: repositories inside, and submodules that were changed."""
    listing = repository.git("ls-files", "--others", "--exclude-standard", "--directory", "-z", at=path)
    inner = [name for name in listing.split("\0") if name.endswith("/") and (path / name / ".git").exists()]
    status = repository.git("status", "--porcelain=v2", "-z", "--no-renames", at=path)
    fields = [entry.split(" ", 8) for entry in status.split("\0") if entry.startswith("1 ")]
    # S, then what has changed: its commit (seen by ``refuse_gitlinks``), its files (M), new files in it (U).
    return inner + [field[8] for field in fields if field[2][0] == "S" and field[2][2:] != ".."]


def refuse_gitlinks(changes: Sequence[Change]) -> None:
    """Raises UncommittedChanges where submodules' commits changed, or inner repositories were taken in: what they
    stand at may be in no other repository.
    """
    _refuse([change.name for change in changes if change.is_submodule])


def remove_stale_locks(repository: Repository, path: Path) -> None:
    """Remove the locks that a killed git left in this worktree; its agent and all it had started are ended."""
    for lock in repository.admin_dir(path).glob("*.lock"):
        remove_lock(lock)


def remove_lock(lock: Path) -> None:
    """Remove the lock of a git that was killed. A young one may be a person's, who looks in: it is waited for."""
    until = time.monotonic() + LOCK_SECONDS
    while lock.exists() and time.monotonic() < until and time.time() - lock.stat().st_mtime < LOCK_SECONDS:
        time.sleep(0.05)
    lock.unlink(missing_ok=True)


def _refuse(names: Sequence[str]) -> None:
    if names:
        raise UncommittedChanges(
            f"{', '.join(names)} is a git repository of its own; a commit here would not hold what is in it.",
            hint="Move it elsewhere or remove its .git folder; a submodule's work is pushed from the submodule.",
            files=list(names),
        )
