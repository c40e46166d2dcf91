"""What is done to the worktrees of the pool on disk: emptied, moved, given to a task, removed (design 6).

Each of these may be cut off at any line. A worktree is locked while it belongs to the pool, so that no `git worktree
prune` meets it between two places.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import hidden, preparing, workspaces
from .errors import GitError
from .preparing import Prepared
from .repository import Repository

LOCK = "crewyard: clean, for the next task"
# What git keeps for a checkout that is in the middle of nothing. Anything else is somebody's, or unknown to us.
_HARMLESS = frozenset({"HEAD", "ORIG_HEAD", "FETCH_HEAD", "COMMIT_EDITMSG", "AUTO_MERGE", "MERGE_RR", "REBASE_HEAD",
                       "commondir", "gitdir", "index", "logs", "refs", workspaces.SETUP_DONE})  # fmt: skip
_KEPT = frozenset({"HEAD", "commondir", "gitdir", "index", "locked"})
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")


def is_reusable(repository: Repository, path: Path) -> bool:
    """Whether a worktree without uncommitted changes holds nothing of anybody's that the next task would inherit."""
    folder = _folder(repository, path)
    if not {entry.name for entry in folder.iterdir()} <= _HARMLESS:
        return False
    if any(file.stat().st_size for file in (folder / "MERGE_RR",) if file.exists()):
        return False
    if any(file.is_file() for file in (folder / "refs").rglob("*")):
        return False
    return not (path / ".gitmodules").exists() and not hidden.flags(repository, path)


def is_untouched(repository: Repository, path: Path, commit: str) -> bool:
    """Whether a resting worktree is as it was left: nobody has moved its HEAD or put anything into it."""
    return _rests_at(repository, path, commit) and not hidden.is_dirty(repository, path)


def empty(repository: Repository, path: Path, commit: str) -> None:
    """Remove what git does not keep there (ignored files too), and check ``commit`` out, on no branch."""
    folder = _folder(repository, path)
    workspaces.refuse_inner(repository, path)
    repository.git("clean", "-ffdxq", at=path)
    repository.git(*_NO_HOOKS, "checkout", "--quiet", "--detach", commit, "--", at=path)
    for entry in folder.iterdir():
        if entry.name not in _KEPT and entry.is_file():
            entry.unlink()
    (folder / "logs" / "HEAD").unlink(missing_ok=True)


def lock(repository: Repository, path: Path) -> None:
    _replace(_folder(repository, path) / "locked", LOCK)


def unlock(repository: Repository, path: Path) -> None:
    """Take our own lock off; a person's stays."""
    file = _folder(repository, path) / "locked"
    if file.exists() and file.read_text(encoding="utf-8").strip() == LOCK:
        file.unlink()


def move(repository: Repository, old: Path, new: Path) -> None:
    """Move a worktree in its file system; one that was moved already is only noted anew. Raises OSError.

    As `git worktree move`, which refuses locked ones and costs a process.
    """
    if old.exists():
        new.parent.mkdir(parents=True, exist_ok=True)
        folder = _folder(repository, old)
        if folder != Path((old / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()):
            _replace(old / ".git", f"gitdir: {folder.resolve()}")  # a relative one would lead nowhere
        old.rename(new)
    _replace(_folder(repository, new) / "gitdir", str(new / ".git"))


def found(repository: Repository, places: list[Path]) -> Path | None:
    """Where a worktree is that was being moved between these places; git's list says the same afterwards."""
    place = next((place for place in places if repository.linked_dir(place) is not None), None)
    if place is not None:
        _replace(_folder(repository, place) / "gitdir", str(place / ".git"))
    return place


def take(
    repository: Repository, pooled: Path, commit: str, *, path: Path, branch: str, base: str, salvage_ref: str
) -> Prepared:
    """Make a clean worktree at ``commit`` the one of ``branch``, begun at ``base``, at ``path``; no hook is run.

    Raises GitError or OSError; then the worktree is still the pool's, or half the task's, and holds no work.
    """
    if not _rests_at(repository, pooled, commit):
        raise GitError(f"{pooled} is no longer at {commit}, where it was left.")
    with ThreadPoolExecutor(1) as meanwhile:
        begun = meanwhile.submit(preparing.begin_branch, repository, branch, base, salvage_ref)
        if commit != base:
            repository.git("read-tree", "-m", "-u", commit, base, at=pooled)
    salvaged = begun.result()
    _switch(repository, pooled, branch)
    move(repository, pooled, path)
    unlock(repository, path)
    return Prepared(path, salvaged)


def discard(repository: Repository, path: Path, commits: set[str], target: str, ref: str) -> str | None:
    """Remove a worktree of the pool; what somebody put into it is kept under ``ref`` first, which is returned then.

    ``commits`` are those that its files may be of, wholly or (cut off between them) in part.
    """
    if not path.exists():
        workspaces.forget(repository, path)
        return None
    workspaces.mend_pointer(repository, path)
    _folder(repository, path)
    workspaces.refuse_inner(repository, path)
    head = repository.head(path)
    known = {*commits, head}
    is_work = head not in commits and not repository.is_ancestor(head, target)
    if not is_work and hidden.is_dirty(repository, path):
        tree = hidden.snapshot(repository, path)
        is_work = bool(set.intersection(*(_files_of_its_own(repository, commit, tree) for commit in known)))
    if is_work:
        workspaces.salvage(repository, path, ref)
    answer = repository.try_git("worktree", "remove", "--force", "--force", "--", str(path))
    if answer.code != 0:
        raise GitError(f"git worktree remove failed for {path}: {answer.stderr.strip()}")
    return ref if is_work else None


def _files_of_its_own(repository: Repository, commit: str, tree: str) -> set[str]:
    """What is in ``tree`` and not so in ``commit``; that a removal was cut off after some files loses nothing."""
    return {change.name for change in repository.changes(commit, tree) if change.new is not None}


def _folder(repository: Repository, path: Path) -> Path:
    """Git's folder of a linked worktree of this repository. Raises GitError for anything else.

    Without its `.git` file git would take the checkout around it, the user's own, and all would be done to that.
    """
    folder = repository.linked_dir(path)
    if folder is None:
        raise GitError(f"{path} is no worktree of {repository.root}.")
    return folder


def _rests_at(repository: Repository, path: Path, commit: str) -> bool:
    """Whether it is on no branch, at ``commit``."""
    head = (_folder(repository, path) / "HEAD").read_text(encoding="utf-8").strip()
    if _OBJECT.fullmatch(head):
        return head == commit
    return repository.branch_at(path) is None and repository.head(path) == commit


def _switch(repository: Repository, path: Path, branch: str) -> None:
    """Put a checkout on no branch on one that stands at its commit; a process for that takes longer than all else."""
    head = _folder(repository, path) / "HEAD"
    if _OBJECT.fullmatch(head.read_text(encoding="utf-8").strip()):
        _replace(head, f"ref: refs/heads/{branch}")
    else:  # refs are not kept in files here
        repository.git("symbolic-ref", "-m", "crewyard: begin", "HEAD", f"refs/heads/{branch}", at=path)


def _replace(file: Path, text: str) -> None:
    """Write a file so that it is the old one or the new one, never half of it."""
    partial = file.with_name(f"{file.name}.crewyard")
    partial.write_text(f"{text}\n", encoding="utf-8")
    partial.replace(file)
