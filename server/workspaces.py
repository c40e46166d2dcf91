"""What is done in worktrees on disk: looked at, merged into, salvaged, removed. Nothing with work in it is deleted."""

import os
from pathlib import Path

from . import hidden, unmerged
from .checkouts import GITS_OWN_LOCK
from .errors import GitError, UncommittedChanges, WrongBranch
from .repository import STRATEGY, Repository
from .stages import Unmerged

MERGE_BEGUN = "crewyard-merge"  # in git's folder of a worktree, from before `git merge` until its end was seen

SETUP_DONE = "crewyard-setup"  # in git's own folder of a worktree: the user's setup has passed there


def forget(repository: Repository, path: Path) -> None:
    """Remove a worktree of ours with all that is in it; one that is gone already is only struck off git's list."""
    repository.try_git("worktree", "remove", "--force", "--force", "--", str(path))


def remove_bare_start(path: Path) -> None:
    """Remove a worktree's folder that `git worktree add` had made and put nothing into yet."""
    if path.is_dir() and {each.name for each in path.iterdir()} <= {".git"}:
        (path / ".git").unlink(missing_ok=True)
        path.rmdir()


def named_by(entry: Path) -> Path | None:
    """The worktree that one of git's own folders of worktrees belongs to; None where it does not say."""
    try:
        text = (entry / "gitdir").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return Path(text).parent if text.endswith("/.git") else None


def names_entry(path: Path, entry: Path) -> bool:
    """Whether the worktree at ``path`` says that git's folder ``entry`` is its own."""
    try:
        text = (path / ".git").read_text(encoding="utf-8")
    except OSError:
        return False
    return path / text.removeprefix("gitdir:").strip() == entry


def mend_pointer(repository: Repository, path: Path) -> None:
    """Write the `.git` file again that a removal took away before it was cut off: else git cannot finish that."""
    entry = repository.entry_of(path) if path.is_dir() and not (path / ".git").exists() else None
    if entry is not None:
        (path / ".git").write_text(f"gitdir: {entry}\n", encoding="utf-8")


def refuse_inner(repository: Repository, path: Path) -> None:
    """Raises GitError where another worktree lies inside: git would delete it along, what is uncommitted included."""
    for place in repository.checkouts_inside(path):
        raise GitError(
            f"the worktree {place} lies inside {path}",
            hint=f"`git worktree move {place}` to another place, or remove it, then clean up again.",
        )


def lock_of(folder: Path) -> str | None:
    """Why git's folder of a worktree is locked; None where it is not."""
    try:
        return (folder / "locked").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None


def require_branch(repository: Repository, path: Path, branch: str) -> None:
    """Raises WrongBranch unless the checkout at ``path`` is on ``branch`` (C-13, L-15)."""
    if repository.linked_dir(path) is None:
        raise WrongBranch(
            f"{path} is no worktree of {repository.root}.",
            hint=f"Move what is there elsewhere; the worktree of branch {branch} is made again then.",
            required=branch,
        )
    actual = repository.branch_at(path)
    if actual == branch and repository.tip(branch) is None:
        raise WrongBranch(f"Branch {branch}, which {path} was on, is gone.", required=branch)
    if actual != branch:
        raise WrongBranch(
            f"{path} is on {actual or 'a detached HEAD'}; it belongs to branch {branch}.",
            hint=f"git -C {path} switch {branch}",
            actual=actual,
            required=branch,
        )


def moved_to(repository: Repository, path: Path, branch: str) -> Path | None:
    """Where somebody has moved the worktree that was at ``path``; None where it is gone altogether."""
    found = next((c for c in repository.checkouts()[1:] if c.branch == branch), None)
    return found.path if found is not None and found.path != path and found.path.exists() else None


def is_merging(repository: Repository, path: Path) -> bool:
    """Whether a merge that we began there is in progress, or was when it was cut off."""
    begun = repository.admin_dir(path) / MERGE_BEGUN
    return begun.exists() or repository.operation_in_progress(path) == "merge"


def begin_merge(
    repository: Repository, path: Path, commit: str, label: str, salvage_ref: str, *, rerere: bool
) -> list[Unmerged]:
    """Start merging ``commit`` in the worktree, leaving conflicts for an agent; returns what conflicts.

    With ``rerere`` git puts in what it remembers of the same conflict, and leaves it for somebody to look at.

    Everything there is committed, or a merge is in progress already, which is left as it is. One that was cut off half
    way is undone first and begun anew; what it had left goes under ``salvage_ref``.
    """
    begun = repository.admin_dir(path) / MERGE_BEGUN
    if begun.exists():
        _undo(repository, path, salvage_ref)
    if repository.operation_in_progress(path) != "merge":
        begun.touch()
        answer = repository.try_git(
            "-c",
            f"rerere.enabled={'true' if rerere else 'false'}",
            "-c",
            "rerere.autoUpdate=false",
            "-c",
            "merge.conflictStyle=merge",
            "-c",
            "merge.autoStash=false",
            "-c",
            "merge.verifySignatures=false",
            "merge",
            STRATEGY,
            "--no-ff",
            "--no-squash",
            "--no-commit",
            "--quiet",
            "-m",
            f"Merge {label}",
            commit,
            at=path,
            env=repository.identity(),
        )
        if answer.code != 0 and repository.operation_in_progress(path) != "merge":
            raise GitError(f"git merge failed in {path}: {(answer.stderr or answer.stdout).strip()}")
        if answer.code not in (0, 1):  # it died on its way, and what it wrote may be half of it
            raise GitError(f"git merge ended with {answer.code} in {path}: {answer.stderr.strip()}")
    begun.unlink(missing_ok=True)
    return unmerged.listed(repository, path)


def _undo(repository: Repository, path: Path, salvage_ref: str) -> None:
    """Take the checkout back to its last commit; a person may have looked in meanwhile, so all of it is kept first."""
    salvage(repository, path, salvage_ref)
    repository.git("reset", "--hard", "--quiet", at=path)
    repository.git("clean", "-d", "--force", "--quiet", at=path)


def salvage_ref(task_id: str, now: str) -> str:
    """Where work is kept that is about to lose its branch or its worktree."""
    return f"refs/crewyard/salvage/{task_id}/{now.replace(':', '').replace('.', '')}"


def salvage(repository: Repository, path: Path, ref: str) -> str:
    """Keep all that is at ``path`` under ``ref``, staged, uncommitted, untracked or hidden; returns the commit.

    What is staged and differs from the files as they are becomes a commit of its own below theirs.
    """
    head = repository.head(path)
    staged = repository.try_git("write-tree", at=path)  # refused in the middle of a conflict: the files hold all of it
    tree = hidden.snapshot(repository, path)
    if staged.code == 0 and staged.stdout.strip() != tree:
        head = _commit(repository, staged.stdout.strip(), head, f"Salvaged from the index of {path.name}")
    head = _commit(repository, tree, head, f"Salvaged from {path.name}")
    repository.keep(ref, head)
    return head


def _commit(repository: Repository, tree: str, parent: str, message: str) -> str:
    """A commit of ``tree``; the parent itself where there is nothing in it."""
    if tree == repository.git("rev-parse", f"{parent}^{{tree}}"):
        return parent
    return repository.git("commit-tree", tree, "-p", parent, "-m", message, env=repository.identity())


def remove(repository: Repository, path: Path, *, force: bool = False) -> None:
    """Remove a worktree; one that is gone already is forgotten. Without ``force`` git refuses uncommitted work."""
    if not path.exists():
        forget(repository, path)
        return
    answer = repository.try_git("worktree", "remove", *(["--force"] if force else []), "--", str(path))
    if answer.code != 0 and "contains modified or untracked files" in answer.stderr:
        raise UncommittedChanges(
            f"{path} holds changes that are not committed.",
            hint="worktrees(action='cleanup', force=true) keeps them under refs/crewyard/salvage first.",
            path=str(path),
        )
    if answer.code != 0 and "containing submodules" in answer.stderr:
        answer = repository.try_git("worktree", "remove", "--force", "--", str(path))
    if answer.code != 0:
        raise GitError(f"git worktree remove failed for {path}: {answer.stderr.strip()}")


def refuse_locked(repository: Repository, path: Path) -> None:
    """Raises GitError where somebody locked the worktree (`git worktree lock`): it is not ours to remove then."""
    if path.exists():
        words = lock_of(repository.admin_dir(path))
    else:
        words = next((c.locked for c in repository.checkouts() if c.path == path), None)
    if words not in (None, GITS_OWN_LOCK):
        raise GitError(
            f"locked: {words or 'no reason given'}", hint=f"`git worktree unlock {path}`, then clean up again."
        )


def remove_empty_parent(path: Path) -> None:
    """Remove the folder that the worktrees lay in, where nothing is left in it."""
    try:
        path.parent.rmdir()
    except OSError:
        return


def size_in_mb(path: Path) -> float:
    """Disk space that removing a folder frees, in MiB; a file that has a name elsewhere too frees none."""
    names: dict[tuple[int, int], int] = {}
    blocks = 0
    for folder, _, files in os.walk(path):
        for name in ("", *files):
            try:
                seen = (Path(folder) / name).lstat()
            except OSError:
                continue
            if name and seen.st_nlink > 1:
                key = seen.st_dev, seen.st_ino
                names[key] = names.get(key, 0) + 1
                if names[key] < seen.st_nlink:
                    continue
            blocks += seen.st_blocks
    return blocks * 512 / 2**20
