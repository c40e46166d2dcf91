"""Which tasks start next (design 4, G-18)."""

import pytest

from crewyard.server.schedule import Candidate, choose, overlap


def named(*names: str) -> list[Candidate]:
    return [Candidate(name, "coder", ()) for name in names]


def test_candidates_start_in_their_order_while_slots_last() -> None:
    choice = choose(named("A", "B", "C"), slots=2, busy_files={}, instances_left={})
    assert (choice.start, list(choice.held)) == (["A", "B"], ["C"])


def test_a_task_with_the_files_of_one_at_work_is_held_and_told_which() -> None:
    candidates = [Candidate("A", "coder", ("src/a.py",)), Candidate("B", "coder", ("src/b.py",))]
    choice = choose(candidates, slots=2, busy_files={"X": ("src/a.py",)}, instances_left={})
    assert choice.start == ["B"]
    assert "X" in choice.held["A"]


def test_two_candidates_with_the_same_files_do_not_start_together() -> None:
    candidates = [Candidate("A", "coder", ("src",)), Candidate("B", "coder", ("src/b.py",))]
    assert choose(candidates, slots=2, busy_files={}, instances_left={}).start == ["A"]


def test_a_type_without_a_free_instance_lets_the_others_pass() -> None:
    candidates = [Candidate("A", "rare", ()), Candidate("B", "rare", ()), Candidate("C", "coder", ())]
    choice = choose(candidates, slots=3, busy_files={}, instances_left={"rare": 1})
    assert (choice.start, list(choice.held)) == (["A", "C"], ["B"])


def test_a_slot_is_kept_for_what_is_ready_in_a_moment_only_in_its_turn() -> None:
    heir = Candidate("HEIR", "coder", (), is_ready=False)
    assert choose([heir, *named("A")], slots=1, busy_files={}, instances_left={}).start == []
    assert choose([heir, *named("A")], slots=2, busy_files={}, instances_left={}).start == ["A"]
    assert choose([*named("A"), heir], slots=1, busy_files={}, instances_left={}).start == ["A"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("a.py", "a.py", True),
        ("./a.py", "a.py", True),
        ("src/", "src/a.py", True),
        ("src/*.py", "src/a.py", True),
        ("src", "src2/a.py", False),
        ("a.py", "b.py", False),
    ],
)
def test_files_overlap_by_name_folder_and_pattern(ours: str, theirs: str, expected: bool) -> None:
    assert overlap((ours,), (theirs,)) is expected
    assert overlap((theirs,), (ours,)) is expected
