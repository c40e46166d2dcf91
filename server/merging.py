"""Merging without touching anyone's checkout (design 6).

``merge-tree --write-tree`` → ``commit-tree`` with two parents → the caller's checks on that tree → the branch moved
from the expected old commit. Where the branch is checked out, that checkout follows by a fast-forward, which git does
only if nothing local is in the way.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from . import following
from .errors import DirtyWorkingDirectory, GitError
from .repository import STRATEGY, Repository

SIGNALLED = 128  # a shell's exit code for a program that a signal ended is above
NOTHING = "CREWYARD_NOTHING"  # in git's environment, empty


class TargetMoved(Exception):
    """The target branch moved since the merge was begun; it is to be done again."""


def commit(repository: Repository, tree: str, parents: tuple[str, str], message: str) -> str:
    """A merge commit with two parents, on no branch yet."""
    first, second = parents
    return repository.git("commit-tree", tree, "-p", first, "-p", second, "-m", message, env=repository.identity())


@contextlib.contextmanager
def checked_out(repository: Repository, folder: Path, commit_id: str) -> Iterator[Path]:
    """``commit_id`` in a private worktree at ``folder``, for checks; one left there by a crash is removed first."""
    discard(repository, folder)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # The user's hooks have no business with a tree that lives for one check, which is to see all that is merged.
        plainly = ("-c", "core.hooksPath=/dev/null", "-c", "core.sparseCheckout=false")
        repository.git(*plainly, "worktree", "add", "--quiet", "--detach", "--", str(folder), commit_id)
        yield folder
    finally:
        discard(repository, folder)


def discard(repository: Repository, folder: Path) -> None:
    """Remove a private worktree, also one that was cut off in its making or removal; in there everything is ours."""
    repository.try_git("worktree", "remove", "--force", "--force", "--", str(folder))
    for place, _, _ in os.walk(folder):  # what is left may be in folders that the check took the right to write from
        with contextlib.suppress(OSError):
            Path(place).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def reset(repository: Repository, folder: Path, commit_id: str) -> None:
    """Bring a private worktree back to ``commit_id``, whatever a hook has left there."""
    repository.git("-c", "core.hooksPath=/dev/null", "reset", "--hard", "--quiet", commit_id, at=folder)
    repository.git("clean", "-ffdxq", at=folder)


def find_merge(repository: Repository, tip: str, head: str) -> str | None:
    """The commit on ``tip``'s first-parent line that merged ``head``, where one did."""
    if not repository.is_ancestor(head, tip):
        return None
    lines = repository.git("rev-list", "--first-parent", "--parents", f"{head}..{tip}").splitlines()
    return next((line.split()[0] for line in lines if head in line.split()[2:]), tip)


def move_branch(repository: Repository, branch: str, new: str, old: str, message: str) -> None:
    """Move ``branch`` from ``old`` to its descendant ``new``, and the checkout that is on it, if there is one.

    Raises TargetMoved, or DirtyWorkingDirectory naming the files in that checkout that are in the way.
    """
    checkout = None
    if repository.may_be_checked_out(branch):
        checkout = next((c.path for c in repository.checkouts() if c.branch == branch and not c.prunable), None)
    if (rebase := repository.rebased_in(branch)) is not None:
        raise DirtyWorkingDirectory(
            f"{branch} is being rebased ({rebase}).", hint="Finish or abort the rebase; the merge is tried again."
        )
    if checkout is None:
        answer = repository.try_git("update-ref", "-m", message, f"refs/heads/{branch}", new, old)
        if answer.code != 0 and repository.tip(branch) != old:
            raise TargetMoved
        if answer.code != 0:
            raise GitError(f"git update-ref failed: {answer.stderr.strip()}")
        return
    if repository.tip(branch) != old:
        raise TargetMoved
    _fast_forward(repository, checkout, branch, new, old, message)


def _fast_forward(repository: Repository, checkout: Path, branch: str, new: str, old: str, message: str) -> None:
    following.take_back(repository, checkout)
    busy = repository.operation_in_progress(checkout)
    if busy is not None:
        raise DirtyWorkingDirectory(
            f"{checkout} is on {branch}, in the middle of a {busy}.", hint=f"Finish or abort the {busy} there."
        )
    # Options of the branch's own could name another strategy (`-s ours`); the name of a branch may hold a `=`.
    unhindered = f"--config-env=branch.{branch}.mergeOptions={NOTHING}"
    options = ("-c", "merge.autoStash=false", "-c", "merge.verifySignatures=false", unhindered)
    words = ("--ff-only", STRATEGY, "--no-squash", "--commit", "--quiet", "--no-stat", "--no-overwrite-ignore")
    environment = {"GIT_REFLOG_ACTION": message, NOTHING: ""}
    with following.noted(repository, checkout, old, new):
        answer = repository.try_git(*options, "merge", *words, new, at=checkout, env=environment)
        if answer.code < 0 or answer.code > SIGNALLED:
            raise GitError(f"git merge was ended in {checkout}.")
    tip = repository.tip(branch)
    if answer.code == 0 and tip == new:
        return
    if tip != old:
        raise TargetMoved
    local = {entry[3:].rstrip("/") for entry in _status(repository, checkout)}
    folders = {str(folder) for name in local for folder in Path(name).parents}
    files = sorted(
        name
        for name in repository.changed_files(old, new)
        if name in folders or {name, *map(str, Path(name).parents)} & local
    )
    raise DirtyWorkingDirectory(
        f"{checkout} is on {branch}, and local changes to {', '.join(files)} are in the way."
        if files
        else f"{checkout} is on {branch}, and is in the way: {answer.stderr.strip() or 'git refused'}",
        hint="Commit, stash or remove them there.",
        files=files,
        checkout=str(checkout),
    )


def _status(repository: Repository, checkout: Path) -> list[str]:
    listing = repository.git("status", "--porcelain", "-z", "--untracked-files=all", "--ignored", at=checkout)
    return [entry for entry in listing.split("\0") if entry]
