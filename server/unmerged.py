"""A merge in a task's worktree that an agent is to end: what conflicts in it, and whether that is resolved."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from . import stages
from .history import Change
from .repository import Repository
from .stages import OURS, Entry, Unmerged

# As git labels them in a merge of a commit or of a branch; longer ones where an attribute says so.
_OPENS, _CLOSES = re.compile(rb"^<{7,} ", re.MULTILINE), re.compile(rb"^>{7,} ", re.MULTILINE)
FEW, SMALL = 10, 2**20  # files and bytes of each that are looked into without a git of their own
_REMEMBERS = ("-c", "rerere.enabled=true", "-c", "rerere.autoUpdate=false")


def listed(repository: Repository, path: Path) -> list[Unmerged]:
    """What conflicts in the merge that is in progress there."""
    conflicts = _sides(repository, path)
    unmarked = set(conflicts).difference(with_markers(path, list(conflicts)))
    remembered = _remembered(repository, path, {name: conflicts[name] for name in unmarked})
    return [
        Unmerged(name, sides, marked=name not in unmarked, remembered=name in remembered)
        for name, sides in conflicts.items()
    ]


def unresolved(repository: Repository, path: Path) -> list[str]:
    """Files of the merge in progress that hold conflict markers, or that nobody has touched or added since it began.

    A file without markers (deleted on one side, binary, a link, from a merge driver that failed) is one side's as git
    left it: committed so, the other side would be lost without anyone's decision. `git add` is one.
    """
    conflicts = _sides(repository, path)
    left = _as_git_left_them(repository, path, conflicts)
    untouched = [name for name, entry in left.items() if _on_disk(repository, path, name, entry) == entry.oid]
    return sorted({*with_markers(path, list(conflicts)), *untouched})


def with_markers(path: Path, names: Sequence[str]) -> list[str]:
    """Those of the files that hold conflict markers."""
    return [name for name in names if name and _has_markers(path / name)]


def markers_committed(repository: Repository, target: str, tip: str, head: str, changes: Sequence[Change]) -> list[str]:
    """Files into which the branch has brought the markers of a merge with ``target``, at ``tip``, or with a commit.

    ``changes`` are those of the branch: a few small files are looked into first, which costs no process.
    """
    blobs = [change.new.split(" ")[1] for change in changes if change.new is not None and not change.is_submodule]
    if len(blobs) <= FEW and not any(_may_be_marked(repository, oid) for oid in blobs):
        return []
    label = f"^>{{7,}} ([0-9a-f]{{40,64}}|(origin/)?{re.escape(target)})[[:space:]]?$"
    options = ("--name-only", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--diff-filter=d")
    listing = repository.git("diff", *options, "-G", label, f"{tip}...{head}")
    names = [name for name in listing.split("\0") if name]
    return [name for name in names if _is_marked(repository.read("cat-file", "blob", f"{head}:{name}")[1])]


def remember(repository: Repository, path: Path) -> None:
    """Let git remember how the conflicts of a merge were resolved, where it was to; before they are committed.

    Where it cannot, the work is committed all the same.
    """
    if _memory(repository, path).exists():
        repository.try_git(*_REMEMBERS, "rerere", at=path)


def _memory(repository: Repository, path: Path) -> Path:
    """Git's list of what it is to remember of a merge."""
    return repository.admin_dir(path) / "MERGE_RR"


def _sides(repository: Repository, path: Path) -> dict[str, dict[int, Entry]]:
    return stages.read([each for each in repository.git("ls-files", "--unmerged", "-z", at=path).split("\0") if each])


def _remembered(repository: Repository, path: Path, unmarked: dict[str, dict[int, Entry]]) -> set[str]:
    """The files that git had set markers in, and has resolved itself since: it took them off its list then."""
    memory = _memory(repository, path)
    if not unmarked or not memory.exists():
        return set()
    waiting = {os.fsdecode(record.partition(b"\t")[2]) for record in memory.read_bytes().split(b"\0")}
    left = _as_git_left_them(repository, path, {name: unmarked[name] for name in unmarked.keys() - waiting})
    return {name for name, entry in left.items() if entry.is_file and _is_marked(repository.blob(entry.oid))}


def _as_git_left_them(repository: Repository, path: Path, conflicts: dict[str, dict[int, Entry]]) -> dict[str, Entry]:
    """What the merge has put into each of these files; where git has kept no record of that, our side."""
    if not conflicts:
        return {}
    answer = repository.try_git("ls-tree", "-z", "AUTO_MERGE", "--", *conflicts, at=path)
    if answer.code != 0:
        return {name: sides[OURS] for name, sides in conflicts.items() if OURS in sides}
    records = [record.partition("\t") for record in answer.stdout.split("\0") if record]
    return {name: Entry(facts.split(" ")[0], facts.split(" ")[2]) for facts, _, name in records}


def _on_disk(repository: Repository, path: Path, name: str, left: Entry) -> str | None:
    """The id of what lies there now; None where nothing does."""
    place = path / name
    if place.is_symlink():
        return repository.feed(os.fsencode(place.readlink()), "hash-object", "--stdin").strip()
    if place.is_dir():  # a submodule
        return repository.commit_at(place) if (place / ".git").exists() else left.oid
    return repository.git("hash-object", "--", name, at=path) if place.is_file() else None


def _has_markers(file: Path) -> bool:
    try:
        return not file.is_symlink() and _is_marked(file.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False


def _may_be_marked(repository: Repository, oid: str) -> bool:
    content = repository.small_object(oid, SMALL)
    return content is None or _is_marked(content)


def _is_marked(content: bytes) -> bool:
    return bool(_OPENS.search(content) and _CLOSES.search(content))
