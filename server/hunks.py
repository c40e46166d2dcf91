"""The hunks of a file that two sides changed differently, and which of them can be settled with nothing lost.

Bytes in, bytes out: any encoding, any line ends. A hunk is settled where both sides differ in whitespace only, or where
both only add and the file may keep both (design 6). Whatever was decided is then counted line by line, independently.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_LIKE_A_MARKER = re.compile(rb"^(?:<+|=+|>+|\|+)", re.MULTILINE)
_BLANKS = re.compile(rb"[ \t]+")
_SHORTEST = 7
LABELS = ("ours", "base", "theirs")


@dataclass(frozen=True)
class Hunk:
    """The lines of a conflict: as ours has them, as they were, as theirs has them."""

    ours: tuple[bytes, ...]
    base: tuple[bytes, ...]
    theirs: tuple[bytes, ...]


Part = tuple[bytes, ...] | Hunk  # lines without a conflict, or one


@dataclass(frozen=True)
class Settled:
    """A whole file, and how many of its hunks were settled in which way."""

    text: bytes
    spaces: int
    united: int


class Garbled(ValueError):
    """The text is not what `git merge-file --diff3` writes."""


def marker_size(*texts: bytes) -> int:
    """So long a marker that no line of the texts can be taken for one."""
    longest = max((len(found) for text in texts for found in _LIKE_A_MARKER.findall(text)), default=0)
    return max(_SHORTEST, longest + 1)


def parse(merged: bytes, size: int) -> list[Part]:
    """What `git merge-file --diff3 --marker-size=size`, labelled with LABELS, wrote. Raises Garbled."""
    ours, base, theirs = (label.encode() for label in LABELS)
    marks = [b"<" * size + b" " + ours, b"|" * size + b" " + base, b"=" * size, b">" * size + b" " + theirs]
    parts: list[Part] = []
    sides: list[list[bytes]] = [[]]  # one list: lines without a conflict; two and more: those of a hunk
    for line in _lines(merged):
        bare = line.rstrip(b"\r\n")
        if bare not in marks:
            sides[-1].append(line)
            continue
        if bare != marks[len(sides) - 1]:
            raise Garbled(f"a marker at a place where none belongs: {bare[:20]!r}")
        if len(sides) < len(marks):
            sides.append([])
            continue
        before, *hunk = map(tuple, sides)
        parts += [before, Hunk(*hunk)] if before else [Hunk(*hunk)]
        sides = [[]]
    if len(sides) > 1:
        raise Garbled("a hunk without an end")
    return [*parts, tuple(sides[0])] if sides[0] else parts


def settle(parts: Sequence[Part], ours: bytes, *, union: bool) -> Settled | None:
    """The file with each hunk settled; None where one cannot be, and then none is.

    ``ours`` is the whole file of that side, ``union`` says that the file may keep both sides' additions.
    """
    spaces = united = 0
    text: list[bytes] = []
    for place, part in enumerate(parts, 1):
        if not isinstance(part, Hunk):
            text += part
        elif _differ_in_spaces_only(part):
            spaces += 1
            # git has given the last line an end that it does not have in the file itself
            text += part.ours if place < len(parts) else (*part.ours[:-1], *_lines(ours)[-1:])
        elif union and (both := _united(part)) is not None:
            united += 1
            text += both
        else:
            return None
    return Settled(b"".join(text), spaces, united)


def loses_nothing(base: bytes, ours: bytes, theirs: bytes, result: bytes, *, but_spaces: bool) -> bool:
    """Whether each line that a side added, and each that neither removed, is in the result, and no other line.

    Lines are counted, so this knows nothing of hunks. With ``but_spaces`` lines that differ in whitespace only are one.
    """
    key: Callable[[bytes], bytes] = _without_spaces if but_spaces else _without_end
    was, left, right, now = (Counter(map(key, _lines(text))) for text in (base, ours, theirs, result))
    for line in was | left | right:
        by_ours, by_theirs = left[line] - was[line], right[line] - was[line]
        added, removed = max(by_ours, by_theirs, 0), min(by_ours, 0) + min(by_theirs, 0)
        if now[line] < was[line] + added + removed:
            return False
    return not now.keys() - left.keys() - right.keys()


def _lines(text: bytes) -> list[bytes]:
    return _LINE.findall(text)


def _differ_in_spaces_only(hunk: Hunk) -> bool:
    return len(hunk.ours) == len(hunk.theirs) and all(
        _without_spaces(one) == _without_spaces(other) for one, other in zip(hunk.ours, hunk.theirs, strict=True)
    )


def _without_spaces(line: bytes) -> bytes:
    """The line with its runs of blanks made one and none at its end; its indentation, which may be code, as it is."""
    bare = _without_end(line).rstrip(b" \t")
    words = bare.lstrip(b" \t")
    return bare[: len(bare) - len(words)] + _BLANKS.sub(b" ", words)


def _without_end(line: bytes) -> bytes:
    return line.rstrip(b"\r\n")


def _united(hunk: Hunk) -> tuple[bytes, ...] | None:
    """Ours, then theirs, what they begin and end with alike once; None where a side changed or removed a line."""
    kept = _alike(hunk.ours, hunk.base, hunk.theirs)  # a last line that git had to end for its markers
    if len(hunk.base) > kept:
        return None
    first = _alike(hunk.ours, hunk.theirs)
    ours, theirs = hunk.ours[first:], hunk.theirs[first:]
    last = _alike(ours[::-1], theirs[::-1])
    return (*hunk.ours, *theirs) if not last else (*hunk.ours[:-last], *theirs)


def _alike(*sides: Sequence[bytes]) -> int:
    """How many lines the sides begin with alike."""
    return sum(1 for _ in takewhile(lambda lines: len(set(lines)) == 1, zip(*sides, strict=False)))
