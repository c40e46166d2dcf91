"""What is settled by itself of two sides' changes to one file: nothing that either side added may be missing."""

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crewyard.server import hunks
from crewyard.server.hunks import Hunk

Merge = Callable[[bytes, bytes, bytes], tuple[int, bytes, int]]

LINES = st.sampled_from(
    [b"a", b"b", b"c d", b"c  d", b"c d ", b"  c d", b"\tc d", b"", b"<<<<<<< x", b"=======", b"|||||||", b">>>>>>> y"]
)
TEXTS = st.builds(
    lambda lines, end, ended: end.join(lines) + (end if ended and lines else b""),
    st.lists(LINES, max_size=7),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
)
EDITS = st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["add", "drop", "change"]), LINES), max_size=4)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def merge(tmp_path: Path) -> Merge:
    """``merge(base, ours, theirs)``: the number of hunks, what git writes, and how long its markers are."""

    def run(base: bytes, ours: bytes, theirs: bytes) -> tuple[int, bytes, int]:
        size = hunks.marker_size(base, ours, theirs)
        for name, text in (("base", base), ("ours", ours), ("theirs", theirs)):
            (tmp_path / name).write_bytes(text)
        labels = [word for label in hunks.LABELS for word in ("-L", label)]
        command = ["git", "merge-file", "-p", "--diff3", f"--marker-size={size}", *labels, "ours", "base", "theirs"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode < 128, done.stderr
        return done.returncode, done.stdout, size

    return run


def edited(text: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    """One side: the text with some lines more, less, or other."""
    lines = text.splitlines(keepends=True)
    end = b"\r\n" if b"\r\n" in text else b"\n"
    for place, what, line in edits:
        at = min(place, len(lines))
        taken = 0 if what == "add" else 1
        lines[at : at + taken] = [] if what == "drop" else [line + end]
    return b"".join(lines)


def added(base: bytes, side: bytes) -> Counter[bytes]:
    return Counter(bare(side)) - Counter(bare(base))


def bare(text: bytes) -> list[bytes]:
    """Its lines with no regard to blanks; the code's own notion of that is not taken for granted."""
    return [b" ".join(line.split()) for line in text.split(b"\n") if line.split()]


@QUICK
@given(base=TEXTS, ours=EDITS, theirs=EDITS, union=st.booleans())
def test_whatever_is_settled_holds_every_line_that_either_side_added(
    merge: Merge, base: bytes, ours: list[tuple[int, str, bytes]], theirs: list[tuple[int, str, bytes]], union: bool
) -> None:
    left, right = edited(base, ours), edited(base, theirs)
    _, merged, size = merge(base, left, right)
    done = hunks.settle(hunks.parse(merged, size), left, union=union)
    # As the merger does: what the count does not believe goes to an agent, though nothing may be missing in it.
    if done is None or not hunks.loses_nothing(base, left, right, done.text, but_spaces=done.spaces > 0):
        return
    now = Counter(bare(done.text))
    assert not added(base, left) - now
    assert not added(base, right) - now
    removed = (Counter(bare(base)) - Counter(bare(left))) + (Counter(bare(base)) - Counter(bare(right)))
    assert not Counter(bare(base)) - removed - now, "a line that nobody removed is gone"


@QUICK
@given(base=TEXTS, ours=TEXTS, theirs=TEXTS)
def test_what_git_wrote_is_read_to_the_byte(merge: Merge, base: bytes, ours: bytes, theirs: bytes) -> None:
    count, merged, size = merge(base, ours, theirs)
    parts = hunks.parse(merged, size)
    assert sum(isinstance(part, Hunk) for part in parts) == count
    marks = [b"<" * size + b" ours", b"|" * size + b" base", b"=" * size, b">" * size + b" theirs"]
    kept = [line for line in merged.split(b"\n") if line.removesuffix(b"\r") not in marks]
    flat = [b"".join(s) for p in parts for s in ((p.ours, p.base, p.theirs) if isinstance(p, Hunk) else (p,))]
    assert b"".join(flat) == b"\n".join(kept)


@QUICK
@given(base=TEXTS, ours=TEXTS, theirs=TEXTS, union=st.booleans())
def test_a_hunk_that_changes_what_was_there_is_never_settled(
    merge: Merge, base: bytes, ours: bytes, theirs: bytes, union: bool
) -> None:
    _, merged, size = merge(base, ours, theirs)
    parts = hunks.parse(merged, size)
    clashes = [
        part
        for part in parts
        if isinstance(part, Hunk) and bare(b"".join(part.ours)) != bare(b"".join(part.theirs)) and len(part.base) > 1
    ]
    if clashes:
        assert hunks.settle(parts, ours, union=union) is None


SETTLED = {
    "spaces at the end": (b"a\n", b"a b \n", b"a b\n", False, b"a b \n"),
    "runs of blanks": (b"x = 1\n", b"x =  2\n", b"x = 2\n", False, b"x =  2\n"),
    "line ends": (b"a\n", b"b\r\n", b"b\n", False, b"b\r\n"),
    "the end of the file": (b"a\n", b"b", b"b\n", False, b"b"),
    "both add, and may": (b"# 1\n", b"# 1\nx\n", b"# 1\ny\n", True, b"# 1\nx\ny\n"),
    "what both add alike is there once": (b"", b"# 1\nx\n", b"# 1\ny\n", True, b"# 1\nx\ny\n"),
    "a last line without an end": (b"# 1", b"# 1\nx", b"# 1\ny", True, b"# 1\nx\ny\n"),
}
REFUSED = {
    "another indentation": (b"if x:\n", b"if x:\n  y\n", b"if x:\n    y\n", False),
    "a tab for spaces": (b"all:\n", b"all:\n\trm\n", b"all:\n        rm\n", False),
    "a blank where there was none": (b"a\n", b"x+y\n", b"x + y\n", False),
    "both add, and may not": (b"a\n", b"a\nx\n", b"a\ny\n", False),
    "one changes, one adds": (b"a\n", b"b\n", b"a\nx\n", True),
    "one deletes, one changes": (b"a\nb\n", b"a\n", b"a\nc\n", True),
    "one of two hunks": (b"a\n1\n2\n3\nb\n", b"x\n1\n2\n3\nB\n", b"x \n1\n2\n3\nC\n", False),
}


@pytest.mark.parametrize(("base", "ours", "theirs", "union", "wanted"), SETTLED.values(), ids=SETTLED)
def test_what_can_lose_nothing_is_settled(
    merge: Merge, base: bytes, ours: bytes, theirs: bytes, union: bool, wanted: bytes
) -> None:
    _, merged, size = merge(base, ours, theirs)
    done = hunks.settle(hunks.parse(merged, size), ours, union=union)
    assert done is not None
    assert done.text == wanted
    assert hunks.loses_nothing(base, ours, theirs, done.text, but_spaces=done.spaces > 0)


@pytest.mark.parametrize(("base", "ours", "theirs", "union"), REFUSED.values(), ids=REFUSED)
def test_what_could_lose_something_is_left_to_an_agent(
    merge: Merge, base: bytes, ours: bytes, theirs: bytes, union: bool
) -> None:
    _, merged, size = merge(base, ours, theirs)
    assert hunks.settle(hunks.parse(merged, size), ours, union=union) is None


def test_a_result_that_lacks_or_invents_a_line_is_found_out() -> None:
    base, ours, theirs = b"a\nb\n", b"a\nb\nx\n", b"a\nb\ny\ny\n"
    assert hunks.loses_nothing(base, ours, theirs, b"a\nb\nx\ny\ny\n", but_spaces=False)
    for wrong in (b"a\nb\nx\ny\n", b"a\nb\ny\ny\n", b"b\nx\ny\ny\n", b"a\nb\nx\ny\ny\n<<<<<<< ours\n"):
        assert not hunks.loses_nothing(base, ours, theirs, wrong, but_spaces=False)


def test_text_that_git_did_not_write_is_refused() -> None:
    for text in (b"<<<<<<< ours\na\n", b"=======\n", b"<<<<<<< ours\n=======\n>>>>>>> theirs\n"):
        with pytest.raises(hunks.Garbled):
            hunks.parse(text, 7)
