"""The user's checkout follows the integration branch that it is on; a git that was cut off in that is taken back.

Which commit the checkout is brought from and to is noted beside its index first. Where that note is found again, files
that are as either commit has them, or a part of it, are git's doing and nobody's work: they go back to where they were.
Whatever else lies there is the user's and stays, with all that git has left.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import process, saving
from .errors import GitError
from .git_calls import MARK
from .history import Change
from .repository import Repository

NOTE = "crewyard-follow"
LOCKS = ("index.lock", "HEAD.lock", "ORIG_HEAD.lock")
AT_ONCE = 500  # names on one command line


@contextmanager
def noted(repository: Repository, checkout: Path, old: str, new: str) -> Iterator[None]:
    """While git brings the checkout from ``old`` to ``new``; a git that ended by itself leaves nothing half done."""
    note = repository.admin_dir(checkout) / NOTE
    note.write_text(json.dumps([old, new]), encoding="utf-8")
    yield
    note.unlink()


def unfinished(repository: Repository, checkout: Path) -> set[str]:
    """The files that a git which was cut off may have left half done in the checkout."""
    commits = _commits(repository.admin_dir(checkout) / NOTE)
    return repository.changed_files(*commits) if commits else set()


def cut_off(repository: Repository) -> list[Path]:
    """The checkouts in which a git was at work when whoever had called it died."""
    return repository.checkouts_with(NOTE)


def take_back(repository: Repository, checkout: Path) -> None:
    """Undo what a git left that was cut off there; may be done again. Raises GitError where one is at work in it."""
    note = repository.admin_dir(checkout) / NOTE
    if not note.exists():
        return
    if process.is_git_at_work(checkout, MARK):
        raise GitError(f"A git is at work in {checkout}.", hint="When it has ended, this is tried again.")
    reference = repository.common_dir / f"refs/heads/{repository.branch_at(checkout)}.lock"
    for lock in (reference, *(note.with_name(name) for name in LOCKS)):
        if lock.exists() and lock.stat().st_mtime >= note.stat().st_mtime:
            saving.remove_lock(lock)
    commits = _commits(note)
    if commits is not None and repository.commit_at(checkout) == commits[0]:
        _restore(repository, checkout, *commits)
    note.unlink()


def _commits(note: Path) -> tuple[str, str] | None:
    """None where there is no note, or one that was cut off itself: nothing was begun then."""
    try:
        old, new = json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return old, new


def _restore(repository: Repository, checkout: Path, old: str, new: str) -> None:
    changes = {change.name: change for change in repository.changes(old, new) if not change.is_submodule}
    staged = [change for change in repository.changes("--cached", old, at=checkout) if change.name in changes]
    present = _present(repository, checkout, list(changes))
    ours = all(_is_gits(repository, checkout, change, present[name], new) for name, change in changes.items())
    if not ours or any(change.new != changes[change.name].new for change in staged):
        return
    for some in _in_parts([change.name for change in staged]):
        repository.git("reset", "--quiet", "--", *some, at=checkout)
    touched = [change for name, change in changes.items() if present[name] != change.old]
    for change in touched:
        if change.old is None:
            _unlink(checkout, checkout / change.name)
    back = [change.name for change in touched if change.old is not None and not (checkout / change.name).is_dir()]
    for some in _in_parts(back):
        repository.git("checkout-index", "--force", "--index", "--", *some, at=checkout)


def _present(repository: Repository, checkout: Path, names: list[str]) -> dict[str, str | None]:
    """Mode and blob of what lies there, as git would have it; None for nothing, and for a folder."""
    found: dict[str, str | None] = dict.fromkeys(names)
    files = [name for name in names if (checkout / name).is_file() and not (checkout / name).is_symlink()]
    for some in _in_parts(files):
        blobs = repository.git("hash-object", "--", *some, at=checkout).splitlines()
        for name, blob in zip(some, blobs, strict=True):
            found[name] = f"{'100755' if (checkout / name).stat().st_mode & 0o100 else '100644'} {blob}"
    for name in names:
        if (checkout / name).is_symlink():
            found[name] = f"120000 to {(checkout / name).readlink()}"
    return found


def _is_gits(repository: Repository, checkout: Path, change: Change, present: str | None, new: str) -> bool:
    """Whether what lies there is as one of the two commits has it, or the beginning of that, or nothing at all."""
    if present is None or present in (change.old, change.new):
        return True
    if present.startswith("120000"):
        links = [entry for entry in (change.old, change.new) if entry and entry.startswith("120000")]
        return any(present == f"120000 to {repository.git('cat-file', 'blob', link.split()[1])}" for link in links)
    if change.new is None:
        return False
    whole = repository.git("cat-file", "--filters", f"{new}:{change.name}", at=checkout)
    return os.fsencode(whole).startswith((checkout / change.name).read_bytes())


def _unlink(checkout: Path, file: Path) -> None:
    """Remove a file, and the folders that are empty without it."""
    if file.is_symlink() or not file.is_dir():
        file.unlink(missing_ok=True)
    for folder in file.parents:
        if folder == checkout or (folder.is_dir() and any(folder.iterdir())):
            return
        if folder.is_dir():
            folder.rmdir()


def _in_parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE))
