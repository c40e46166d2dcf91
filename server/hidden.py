"""Changes that git was told not to look at (assume-unchanged, skip-worktree): they are work like any other."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .repository import Repository

_AT_ONCE = 500


def is_dirty(repository: Repository, path: Path) -> bool:
    """Whether anything is uncommitted there: new files, and what git was told not to look at, included."""
    if repository.has_changes(path):
        return True
    flagged = _flagged_files(repository, path)
    if not flagged:
        return False
    with _index_without_flags(repository, path, flagged) as env:
        return repository.has_changes(path, env)


def flags(repository: Repository, path: Path) -> list[str]:
    """The names that git was told not to look at there, whether or not there is such a file."""
    listing = repository.git("ls-files", "-v", "-z", at=path).split("\0")
    return [entry[2:] for entry in listing if entry and (entry[0] == "S" or entry[0].islower())]


def snapshot(repository: Repository, path: Path) -> str:
    """A tree of everything that is there, uncommitted, untracked and hidden files included; its index stays as it is.

    What a sparse checkout leaves out is in it as well.
    """
    with _index_without_flags(repository, path, _flagged_files(repository, path)) as env:
        repository.git("add", "--all", "--sparse", at=path, env=env)
        return repository.git("write-tree", at=path, env=env)


def _flagged_files(repository: Repository, path: Path) -> list[str]:
    """A file that is missing has nothing to lose: that is what a sparse checkout does."""
    return [name for name in flags(repository, path) if (path / name).exists() or (path / name).is_symlink()]


@contextmanager
def _index_without_flags(repository: Repository, path: Path, names: list[str]) -> Iterator[dict[str, str]]:
    """Environment with a copy of the checkout's index in which git looks at these files again."""
    with tempfile.TemporaryDirectory() as folder:
        copy, own = Path(folder) / "index", repository.admin_dir(path) / "index"
        env = {"GIT_INDEX_FILE": str(copy)}
        if own.exists():
            shutil.copyfile(own, copy)
        else:
            repository.git("read-tree", "HEAD", at=path, env=env)
        for flag in ("--no-assume-unchanged", "--no-skip-worktree"):
            for first in range(0, len(names), _AT_ONCE):
                some = names[first : first + _AT_ONCE]
                repository.git("update-index", flag, "--", *some, at=path, env=env)
        yield env
