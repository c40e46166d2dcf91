"""What is done in worktrees on disk: made, saved, salvaged, removed (design 6). Nothing with work in it is deleted."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import unmerged
from .errors import GitError, UncommittedChanges, WrongBranch
from .repository import Repository
from .stages import Unmerged

MERGE_BEGUN = "crewyard-merge"  # in git's folder of a worktree, from before `git merge` until its end was seen


@dataclass(frozen=True)
class Prepared:
    """A worktree that is ready, and what of an earlier run was found and kept for it."""

    path: Path
    salvaged: str | None = None


def free_path(wanted: Path) -> Path:
    """``wanted``, or the first of ``wanted-2``, ``wanted-3``, … that nothing stands in the way of."""
    candidates = (wanted if n == 1 else wanted.with_name(f"{wanted.name}-{n}") for n in range(1, 1000))
    return next(path for path in candidates if not path.exists() or not any(path.iterdir()))


def prepare(repository: Repository, path: Path, branch: str, base: str, salvage_ref: str) -> Prepared:
    """Make the worktree of ``branch`` at ``path``, from ``base``; made already, it is used as it is.

    A leftover branch of that name that holds work is first kept under ``salvage_ref``; one without is reused.
    Raises GitError.
    """
    # --no-track: without it parallel adds fight over .git/config.
    made = repository.try_git("worktree", "add", "--quiet", "--no-track", "-b", branch, "--", str(path), base)
    if made.code == 0:
        return Prepared(path)
    present = next((c for c in repository.checkouts() if c.branch == branch or c.path == path), None)
    if present is not None and present.path == path:
        if present.branch == branch and _is_complete(repository, path):
            return Prepared(path)
        # Cut off while it was made: nobody has worked in it, and what is missing would look like deletions.
        forget(repository, path)
    elif present is not None:
        raise GitError(
            f"Branch {branch} is checked out in {present.path}.",
            hint="Finish or remove that worktree, then start again.",
            branch=branch,
        )
    tip = repository.tip(branch)
    if tip is None:
        raise GitError(f"git worktree add failed for {path}: {made.stderr.strip()}")
    salvaged = None
    if not repository.is_ancestor(tip, base):
        repository.keep(salvage_ref, tip)
        salvaged = salvage_ref
    repository.git("worktree", "add", "--quiet", "--no-track", "-B", branch, "--", str(path), base)
    return Prepared(path, salvaged)


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
    return Path(text).parent if text else None


def _is_complete(repository: Repository, path: Path) -> bool:
    """Whether `git worktree add` came to its end there: until then it is locked, or its index is."""
    if not (path / ".git").exists():
        return False
    folder = repository.admin_dir(path)
    return (folder / "index").exists() and not any((folder / name).exists() for name in ("locked", "index.lock"))


def require_branch(repository: Repository, path: Path, branch: str) -> None:
    """Raises WrongBranch unless the checkout at ``path`` is on ``branch`` (C-13, L-15)."""
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
            "merge",
            "--no-ff",
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
    """Keep everything at ``path`` under ``ref``, what is uncommitted or untracked included; returns the commit."""
    head = repository.head(path)
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index"), **repository.identity()}
        repository.git("read-tree", head, at=path, env=index)
        repository.git("add", "--all", at=path, env=index)
        tree = repository.git("write-tree", at=path, env=index)
    if tree != repository.git("rev-parse", f"{head}^{{tree}}"):
        head = repository.git(
            "commit-tree", tree, "-p", head, "-m", f"Salvaged from {path.name}", env=repository.identity()
        )
    repository.keep(ref, head)
    return head


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


def remove_empty_parent(path: Path) -> None:
    """Remove the folder that the worktrees lay in, where nothing is left in it."""
    try:
        path.parent.rmdir()
    except OSError:
        return


def size_in_mb(path: Path) -> float:
    """Disk space of a worktree's files, in MiB."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += (Path(folder) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total / 2**20
