"""Merges two commits in memory, and settles what conflicts where nothing can be lost by it, or as a person said.

Only conflicts in the content of plain files are settled by themselves: hunks that differ in whitespace, and additions
in files listed under ``merge.union``. Each result is counted line by line before it is believed. It is all or nothing:
where one file needs an agent, the whole merge goes back to one.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from . import hunks, stages
from .errors import GitError
from .repository import Repository
from .settlements import How, Settlement
from .stages import BASE, OURS, THEIRS, Entry

MOST_BYTES = 10 * 2**20  # of one side of a file that is looked into
MOST_COUNTED = 127  # hunks; `git merge-file` ends with their number
CONTENT, RENAMED_TWICE = "CONFLICT (contents)", "CONFLICT (rename/rename)"
# Of these a side's file, or its absence, can be taken. In others git has put a path aside under a name of its own.
BY_SIDE = tuple(
    f"CONFLICT ({kind}"
    for kind in ("contents)", "binary)", "modify/delete)", "rename/delete)", "rename/rename)", "submodule")
)
# What git itself merges line by line, and stores as it stands: no merge driver of the user's, no filter such as LFS.
PLAIN = {"merge": ("unspecified", "set", "text"), "filter": ("unspecified", "unset")}
Side = Literal["ours", "theirs"]
_SIDE: dict[Side, int] = {"ours": OURS, "theirs": THEIRS}


@dataclass(frozen=True)
class Conflict:
    """A path that conflicts: what each side has there, and git's names for what happened."""

    path: str
    sides: stages.Sides
    types: frozenset[str]


@dataclass(frozen=True)
class Trial:
    """The merged tree; what conflicts in it, and then all of it; what was settled."""

    tree: str
    conflicts: list[Conflict] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        return [conflict.path for conflict in self.conflicts]


Texts = tuple[bytes, bytes, bytes]  # base, ours, theirs
Done = tuple[list[Settlement], Entry | None]  # what a path is now; None: it is gone


@dataclass(frozen=True)
class _Merge:
    """One merge: the commits of both sides, and what may be done about its conflicts."""

    repository: Repository
    target: str
    head: str
    union: Sequence[str]
    strategy: Side | None

    def keeps_both(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self.union)


def attempt(
    repository: Repository, target: str, head: str, union: Sequence[str], strategy: Side | None = None
) -> Trial:
    """Merge ``head`` into ``target``, neither moved. ``strategy``: the side to take where nothing else settles it."""
    merge = _Merge(repository, target, head, union, strategy)
    trial = _merge_tree(merge)
    if not trial.conflicts:
        return trial
    with _index(repository, trial.tree) as index:
        plain = _plain(repository, trial.conflicts, index)
        settled: list[Settlement] = []
        entries: dict[str, Entry | None] = {}
        for conflict in trial.conflicts:
            done = _settle(merge, conflict, conflict.path in plain)
            if done is None:
                return trial
            settled += done[0]
            entries[conflict.path] = done[1]
        _put(repository, index, entries)
        return Trial(repository.git("write-tree", env=index), [], settled)


# ---------------------------------------------------------------------------------------------- what git finds


def _merge_tree(merge: _Merge) -> Trial:
    # git honours the user's attributes here: a merge driver's result is kept, a driver that fails is a conflict.
    answer = merge.repository.try_git("merge-tree", "--write-tree", "--messages", "-z", merge.target, merge.head)
    if answer.code not in (0, 1) or not answer.stdout:  # 1 also where a commit is missing
        raise GitError(f"git merge-tree failed: {(answer.stderr or answer.stdout).strip()}")
    tree, *rest = answer.stdout.split("\0")
    if answer.code == 0:
        return Trial(tree)
    records = rest[: rest.index("")]
    sides, types = stages.read(records), _types(rest[len(records) + 1 :])
    paths = sorted({*sides, *types})
    return Trial(tree, [Conflict(path, sides.get(path, {}), frozenset(types.get(path, ()))) for path in paths])


def _types(fields: list[str]) -> dict[str, set[str]]:
    """The conflicts that git names, by path: records of a count, so many paths, a type and a message."""
    found: dict[str, set[str]] = {}
    rest = iter(fields)
    for count in filter(str.isdigit, rest):
        paths = [next(rest) for _ in range(int(count))]
        name = next(rest)
        next(rest)
        for path in paths if name.startswith("CONFLICT") else ():
            found.setdefault(path, set()).add(name)
    return found


@contextmanager
def _index(repository: Repository, tree: str) -> Iterator[dict[str, str]]:
    """The environment in which git works with an index of the tree, for this merge alone."""
    with tempfile.TemporaryDirectory(prefix="crewyard-") as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        repository.git("read-tree", tree, env=env)
        yield env


def _put(repository: Repository, index: dict[str, str], entries: dict[str, Entry | None]) -> None:
    nothing = "0" * len(repository.git("rev-parse", "HEAD"))
    lines = [
        f"{entry.mode} {entry.oid} 0\t{path}" if entry else f"0 {nothing}\t{path}" for path, entry in entries.items()
    ]
    repository.feed("\0".join(lines) + "\0", "update-index", "-z", "--index-info", env=index)


def _plain(repository: Repository, conflicts: Sequence[Conflict], index: dict[str, str]) -> set[str]:
    """The paths whose conflict is one of lines in a file that git merges by itself, as the merged attributes say."""
    paths = [each.path for each in conflicts if stages.is_content(each.sides) and each.types == frozenset({CONTENT})]
    if not paths or any(Path(each.path).name == ".gitattributes" for each in conflicts):
        return set()
    listing = repository.feed("\0".join(paths), "check-attr", "--cached", "--stdin", "-z", *PLAIN, env=index)
    fields = listing.split("\0")
    special = {
        path
        for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False)
        if value not in PLAIN[name]
    }
    return set(paths) - special


# ---------------------------------------------------------------------------------------------- what is settled


def _settle(merge: _Merge, conflict: Conflict, plain: bool) -> Done | None:
    """How one path is settled, and what it is then; None where it needs an agent."""
    texts = _texts(merge.repository, conflict.sides) if plain else None
    done = _by_itself(merge, conflict, texts) if texts else None
    if done is not None or merge.strategy is None:
        return done
    return _by_side(merge, conflict, merge.strategy, texts)


def _by_itself(merge: _Merge, conflict: Conflict, texts: Texts) -> Done | None:
    if len({entry.mode for entry in conflict.sides.values()}) != 1:
        return None
    base, ours, theirs = texts
    count, merged = _merge_file(merge.repository, texts, "--diff3")
    try:
        parts = hunks.parse(merged, hunks.marker_size(*texts))
    except hunks.Garbled:
        return None
    if min(sum(isinstance(part, hunks.Hunk) for part in parts), MOST_COUNTED) != count:
        return None
    done = hunks.settle(parts, ours, union=merge.keeps_both(conflict.path))
    if done is None or not hunks.loses_nothing(base, ours, theirs, done.text, but_spaces=done.spaces > 0):
        return None
    counts: dict[How, int] = {"whitespace": done.spaces, "union": done.united}
    told = [Settlement(conflict.path, how, number) for how, number in counts.items() if number]
    return told, Entry(conflict.sides[OURS].mode, merge.repository.store_blob(done.text))


def _by_side(merge: _Merge, conflict: Conflict, strategy: Side, texts: Texts | None) -> Done | None:
    """One side's hunks, or its whole file (or absence) where there are none: a person has said so."""
    side = _SIDE[strategy]
    if texts:
        count, _ = _merge_file(merge.repository, texts, "--diff3")
        _, text = _merge_file(merge.repository, texts, f"--{strategy}")
        mode = _mode(conflict.sides, side)
        return [Settlement(conflict.path, strategy, count)], Entry(mode, merge.repository.store_blob(text))
    if not all(name.startswith(BY_SIDE) for name in conflict.types):
        return None
    entry = conflict.sides.get(side)
    if RENAMED_TWICE in conflict.types:  # git has put the merged content, markers included, in the place of each side
        commit = merge.target if side == OURS else merge.head
        entry = _in_commit(merge.repository, commit, conflict.path)
    return [Settlement(conflict.path, strategy, 0)], entry


def _mode(sides: stages.Sides, side: int) -> str:
    if BASE in sides and sides[BASE].mode in (sides[OURS].mode, sides[THEIRS].mode):
        return sides[THEIRS if sides[BASE].mode == sides[OURS].mode else OURS].mode
    return sides[side].mode


def _in_commit(repository: Repository, commit: str, path: str) -> Entry | None:
    listing = repository.git("ls-tree", "-z", commit, "--", path)
    if not listing:
        return None
    mode, _, oid = listing.split("\t", 1)[0].split(" ")
    return Entry(mode, oid)


def _texts(repository: Repository, sides: stages.Sides) -> Texts | None:
    """The content on all sides; None where it is no text, or more than is looked into."""
    oids = [sides[stage].oid for stage in (BASE, OURS, THEIRS) if stage in sides]
    if any(repository.blob_size(oid) > MOST_BYTES for oid in oids):
        return None
    texts = [repository.blob(oid) for oid in oids]
    if any(b"\0" in text for text in texts):
        return None
    base, ours, theirs = texts if BASE in sides else [b"", *texts]
    return base, ours, theirs


def _merge_file(repository: Repository, texts: Texts, how: str) -> tuple[int, bytes]:
    """What `git merge-file` makes of it: how many hunks conflict, and the text."""
    size = hunks.marker_size(*texts)
    labels = [word for label in hunks.LABELS for word in ("-L", label)]
    with tempfile.TemporaryDirectory(prefix="crewyard-") as folder:
        files = dict(zip(("base", "ours", "theirs"), (Path(folder, name) for name in "bot"), strict=True))
        for file, text in zip(files.values(), texts, strict=True):
            file.write_bytes(text)
        order = [str(files[name]) for name in ("ours", "base", "theirs")]
        return repository.read("merge-file", "-p", how, f"--marker-size={size}", *labels, *order, most=MOST_COUNTED)
