"""Paths that conflict, as git's index and `git merge-tree` list them: which side has the path, and as what."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BASE, OURS, THEIRS = 1, 2, 3
_FILE = "100"
_LINK = "120000"
_SUBMODULE = "160000"


@dataclass(frozen=True)
class Entry:
    """What a path is on one side."""

    mode: str
    oid: str

    @property
    def is_file(self) -> bool:
        return self.mode.startswith(_FILE)


Sides = Mapping[int, Entry]  # by stage


@dataclass(frozen=True)
class Unmerged:
    """A path of a merge in progress. ``remembered``: git has put in how the same conflict was resolved before."""

    path: str
    sides: Sides
    marked: bool
    remembered: bool


def read(records: Sequence[str]) -> dict[str, dict[int, Entry]]:
    """Records ``mode oid stage<tab>path``, by path."""
    found: dict[str, dict[int, Entry]] = {}
    for record in records:
        facts, path = record.split("\t", 1)
        mode, oid, stage = facts.split(" ")
        found.setdefault(path, {})[int(stage)] = Entry(mode, oid)
    return found


def is_content(sides: Sides) -> bool:
    """Whether both sides have a file there, so that lines can be compared."""
    return {OURS, THEIRS} <= sides.keys() and all(entry.is_file for entry in sides.values())


def is_submodule(sides: Sides) -> bool:
    return any(entry.mode == _SUBMODULE for entry in sides.values())


def is_gone(sides: Sides) -> bool:
    """Whether neither side has the path any more."""
    return sides.keys() == {BASE}


def is_on_one_side(sides: Sides) -> bool:
    return len({OURS, THEIRS} & sides.keys()) == 1


def kind(sides: Sides, ours: str, theirs: str) -> str:
    """What happened, with the two sides' names in it."""
    if is_submodule(sides):
        return "a submodule that both sides moved, or that is something else on one of them"
    if any(entry.mode == _LINK for entry in sides.values()):
        return "a symbolic link that both sides changed, or that is something else on one of them"
    if is_gone(sides):
        return "renamed differently, or deleted, on both sides"
    if OURS not in sides:
        return f"deleted or renamed on {ours}, changed on {theirs}" if BASE in sides else f"renamed on {theirs}"
    if THEIRS not in sides:
        return f"deleted or renamed on {theirs}, changed on {ours}" if BASE in sides else f"renamed on {ours}"
    return "both sides changed the same lines" if BASE in sides else "both sides added a file of this name"


def quoted(path: str) -> str:
    """A path for messages: as it is, or in quotes where it holds what no message should."""
    return path if path.isprintable() else json.dumps(path)
