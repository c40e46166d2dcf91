"""Makes worktrees on disk: from a branch's base, whatever an earlier run or a crash has left in the way (design 6)."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .checkouts import GITS_OWN_LOCK, Checkout
from .errors import BranchExists, DiskFull, GitError, WorktreeExists
from .git_calls import Output
from .repository import Repository
from .workspaces import forget, lock_of

_FATAL = 128  # from it on git itself failed; below, the user's hook did
_config_turn = threading.Lock()


@dataclass(frozen=True)
class Prepared:
    """A worktree that is ready, what of an earlier run was kept for it, and what the user's hook complained of."""

    path: Path
    salvaged: str | None = None
    complaint: str | None = None


def free_path(wanted: Path) -> Path:
    """``wanted``, or the first of ``wanted-2``, ``wanted-3``, … that nothing stands in the way of."""
    candidates = (wanted if n == 1 else wanted.with_name(f"{wanted.name}-{n}") for n in range(1, 1000))
    return next(path for path in candidates if not path.exists() or not any(path.iterdir()))


def prepare(
    repository: Repository, path: Path, branch: str, base: str, salvage_ref: str, sparse: Sequence[str] = ()
) -> Prepared:
    """Make the worktree of ``branch`` at ``path``, from ``base``; made already, it is used as it is.

    A leftover branch of that name that holds work is first kept under ``salvage_ref``; one without is reused. With
    ``sparse`` it holds those folders only. Raises WorktreeExists, BranchExists, DiskFull, GitError.
    """
    made = _add(repository, path, sparse, "--no-track", "-b", branch, "--", str(path), base)
    if made.code == 0 or _is_complete(repository, path, branch):
        return Prepared(path, complaint=_complaint(made))
    present = next((c for c in repository.checkouts() if c.path == path), None)
    if present is not None:
        # Cut off while it was made: nobody has worked in it, and what is missing would look like deletions.
        _require_half_made(present, branch)
        forget(repository, path)
    salvaged = begin_branch(repository, branch, base, salvage_ref)
    made = _add(repository, path, sparse, "--", str(path), branch)
    if made.code != 0 and not _is_complete(repository, path, branch):
        raise _refusal(path, made)
    return Prepared(path, salvaged, _complaint(made))


def begin_branch(repository: Repository, branch: str, base: str, salvage_ref: str) -> str | None:
    """Make ``branch`` at ``base``, or move there a leftover one that no checkout is on.

    Work on it is first kept under ``salvage_ref``, which is returned then. Raises BranchExists, GitError.
    """
    if repository.create_branch(branch, base):
        return None
    tip = repository.require_tip(branch)
    present = next((c for c in repository.checkouts() if c.branch == branch), None)
    if present is not None:
        raise BranchExists(
            f"Branch {branch} is checked out in {present.path}.",
            hint="Finish or remove that worktree, then start again.",
            branch=branch,
        )
    is_work = not repository.is_ancestor(tip, base)
    if is_work:
        repository.keep(salvage_ref, tip)
    if tip != base:
        repository.move_branch(branch, base, tip)
    return salvage_ref if is_work else None


def run_post_checkout(repository: Repository, path: Path, commit: str) -> str | None:
    """Run the user's hook as `git worktree add` does; returns what it said where it failed."""
    words = ("hook", "run", "--ignore-missing", "post-checkout", "--", "0" * len(commit), commit, "1")
    return _complaint(repository.try_git(*words, at=path))


def _add(repository: Repository, path: Path, sparse: Sequence[str], *words: str) -> Output:
    """`git worktree add`, and where not all folders are wanted, its checkout."""
    start = ("worktree", "add", "--quiet")
    if not sparse:
        return repository.try_git(*start, *words)
    made = repository.try_git(*start, "--no-checkout", *words)
    if made.code != 0:
        return made
    with _config_turn:  # the first one changes the repository's configuration
        repository.git("sparse-checkout", "set", "--cone", "--", *sparse, at=path)
    repository.git("read-tree", "-m", "-u", "HEAD", at=path)
    complaint = run_post_checkout(repository, path, repository.head(path))
    return Output(0 if complaint is None else 1, "", complaint or "")


def _complaint(made: Output) -> str | None:
    """What the user's post-checkout hook said where it failed."""
    if not 0 < made.code < _FATAL:
        return None
    return (made.stderr or made.stdout).strip() or f"it ended with {made.code}"


def _require_half_made(present: Checkout, branch: str) -> None:
    """Raises WorktreeExists unless what git lists at our path is what it made for us and did not finish."""
    if present.locked is not None:
        raise WorktreeExists(
            f"{present.path} is on git's list and locked: {present.locked or 'no reason given'}.",
            hint=f"`git worktree unlock {present.path}`, or bring back what it was locked for.",
            path=str(present.path),
        )
    if present.path.exists() and present.branch not in (None, branch):
        raise WorktreeExists(
            f"{present.path} is a worktree of branch {present.branch} already.",
            hint=f"`git worktree remove {present.path}` removes it, if nobody needs it.",
            path=str(present.path),
        )


def _refusal(path: Path, made: Output) -> GitError:
    words = made.stderr.strip()
    if "No space left on device" in words:
        return DiskFull(f"There is no room for {path}: {words}", hint="Make room, then start again.", path=str(path))
    return GitError(f"git worktree add failed for {path}: {words}", hint="Mend what git names, then start again.")


def roll_back(repository: Repository, path: Path, branch: str, base: str) -> None:
    """Take back what ``prepare`` made and nobody has worked in: the worktree, and its branch if it is at ``base``."""
    at_path = next((c for c in repository.checkouts() if c.path == path), None)
    if at_path is not None and at_path.branch == branch and at_path.locked is None:
        forget(repository, path)
    elsewhere = any(c.branch == branch for c in repository.checkouts())
    if not elsewhere and repository.tip(branch) == base:
        repository.delete_branch(branch, base)


def _is_complete(repository: Repository, path: Path, branch: str) -> bool:
    """Whether it is the worktree of ``branch``, and `git worktree add` came to its end there."""
    if not (path / ".git").is_file():
        return False
    folder = repository.admin_dir(path)
    if not (folder / "index").exists() or (folder / "index.lock").exists():
        return False
    return lock_of(folder) != GITS_OWN_LOCK and repository.branch_at(path) == branch
