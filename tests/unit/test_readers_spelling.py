"""Words that people write for our keys: understood, or refused with the right one, never dropped in silence."""

import pytest

from crewyard.server.errors import PlanRefused
from crewyard.server.readers import read_data, read_plan


@pytest.mark.parametrize(
    "key", ["depends_on", "depends on", "dependsOn", "depends-on", "Depends On", "depends", "blocked_by", "needs"]
)
def test_a_dependency_is_one_however_its_key_is_written(key: str) -> None:
    draft = read_data([{"task_id": "A", "title": "a"}, {"task_id": "B", "title": "b", key: ["A"]}])
    assert draft.tasks[1].depends_on == ("A",)
    assert draft.warnings == ()


@pytest.mark.parametrize(
    ("slip", "meant"), [("dependson", "depends_on"), ("depnds_on", "depends_on"), ("chek", "check")]
)
def test_a_slip_in_a_key_is_refused_with_the_right_one(slip: str, meant: str) -> None:
    with pytest.raises(PlanRefused, match=meant):
        read_data([{"task_id": "A", "title": "a", slip: ["x"]}])


def test_the_words_of_markdown_hold_in_yaml_too() -> None:
    draft = read_plan("tasks:\n- {task_id: A, title: a}\n- {task_id: B, title: b, depends on: [A], hours: 2}", name="p")
    assert (draft.tasks[1].depends_on, draft.tasks[1].estimated_hours) == (("A",), 2.0)


def test_the_exact_key_wins_over_another_spelling_of_it() -> None:
    rows = [{"task_id": "A", "title": "a"}, {"task_id": "B", "title": "b", "depends_on": ["A"], "depends": ["X"]}]
    with pytest.raises(PlanRefused, match="depends_on"):
        read_data(rows)
