"""Four formats, one draft (contract 6 and 9)."""

import json
from pathlib import Path

import pytest

from crewyard.server.readers import PlanDraft, TaskDraft, read_data, read_plan, tell

PLANS = Path(__file__).parents[1] / "plans"


def draft_of(name: str, **options: str) -> PlanDraft:
    return read_plan((PLANS / name).read_bytes(), name=name, **options)


def by_id(draft: PlanDraft) -> dict[str, TaskDraft]:
    return {task.task_id: task for task in draft.tasks}


def markdown(text: str) -> dict[str, TaskDraft]:
    return by_id(read_plan(text, name="plan.md"))


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("small.json", "native"),
        ("small.yaml", "native"),
        ("small.md", "markdown"),
        ("taskmaster.json", "taskmaster"),
        ("issues.jsonl", "beads"),
    ],
)
def test_the_format_is_told_by_content_whatever_the_file_is_called(name: str, format_: str) -> None:
    text = (PLANS / name).read_text()
    assert tell(text) == format_
    assert read_plan(text, name="PLAN").format == format_


def test_a_yaml_plan_that_begins_with_a_comment_is_no_markdown() -> None:
    assert tell("# A comment, no heading\n\ntasks:\n  - task_id: A\n") == "native"


def test_a_markdown_plan_with_a_fenced_yaml_plan_stays_markdown() -> None:
    assert tell("# T1\n\n```yaml\ntasks:\n  - task_id: A\n```\n") == "markdown"


def test_a_list_of_our_tasks_that_have_an_id_and_our_keys_is_no_task_master() -> None:
    draft = read_plan('{"tasks": [{"id": "A", "title": "a"}, {"id": "B", "depends_on": ["A"]}]}', name="p")
    assert (draft.format, by_id(draft)["B"].depends_on) == ("native", ("A",))


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_plan() -> None:
    text = "## T1: one\r\n\r\npriority: low\r\n\r\nText.\r\n"
    assert markdown("\ufeff" + text)["T1"].description == "Text."
    assert by_id(read_plan(b"\xef\xbb\xbf" + text.encode(), name="p"))["T1"].priority == 8


# ------------------------------------------------------------------------------------------------ native


def test_json_and_yaml_say_the_same() -> None:
    assert draft_of("small.json").tasks == draft_of("small.yaml").tasks
    assert draft_of("small.json").specs == draft_of("small.yaml").specs


def test_native_fields_come_through() -> None:
    tasks = by_id(draft_of("small.json"))
    first = tasks["GREET-1"]
    assert (first.spec_id, first.priority, first.estimated_hours) == ("SPEC-1", 2, 2.0)
    assert (first.files, first.check) == (("greet.py",), ("python3", "greet.py"))
    assert (tasks["GREET-2"].depends_on, tasks["GREET-2"].agent_type) == (("GREET-1",), "translator")
    assert tasks["GREET-3"].soft_depends_on == ("GREET-2",)
    assert draft_of("small.json").warnings == ()


@pytest.mark.parametrize(
    ("check", "argv"),
    [
        ("make test", ("make", "test")),
        ("pytest -q 'a b.py'", ("pytest", "-q", "a b.py")),
        ("make test && make lint", ("sh", "-c", "make test && make lint")),
        ("CI=1 make", ("sh", "-c", "CI=1 make")),
        (["a", "$b"], ("a", "$b")),
        ("", None),
        ([], None),
    ],
)
def test_a_check_line_runs_through_a_shell_only_where_it_needs_one(check: object, argv: object) -> None:
    assert read_data([{"task_id": "A", "title": "a", "check": check}]).tasks[0].check == argv


@pytest.mark.parametrize(
    ("given", "priority"),
    [("urgent", 1), ("Critical", 1), ("high", 2), ("normal", 5), ("medium", 5), ("low", 8), (1, 1), (10, 10), ("7", 7)],
)
def test_priority_names_map_to_numbers(given: object, priority: int) -> None:
    assert read_data([{"task_id": "A", "title": "a", "priority": given}]).tasks[0].priority == priority


def test_an_unknown_key_is_a_warning_that_names_key_and_task() -> None:
    draft = read_data({"tasks": [{"task_id": "A", "title": "a", "owner": "x"}], "version": 1})
    assert [warning for warning in draft.warnings if "'owner'" in warning and "'A'" in warning]
    assert [warning for warning in draft.warnings if "'version'" in warning]


def test_a_task_without_a_title_is_called_by_its_id_and_that_is_said() -> None:
    draft = read_data([{"task_id": "A"}])
    assert draft.tasks[0].title == "A"
    assert "without a title" in draft.warnings[0]


def test_a_title_is_one_line_without_control_characters() -> None:
    assert read_data([{"task_id": "A", "title": "a\n\x1b[31mb\x07 c"}]).tasks[0].title == "a b c"


def test_ended_tasks_stay_ended_and_a_running_one_comes_in_as_pending() -> None:
    draft = read_data([{"task_id": str(n), "title": "t", "status": s} for n, s in enumerate(["completed", "failed"])])
    assert [task.status for task in draft.tasks] == ["completed", "pending"]
    assert "failed" in draft.warnings[0]


def test_numbers_as_ids_become_texts() -> None:
    draft = read_plan("tasks:\n- {task_id: 1, title: a}\n- {task_id: 2, title: b, depends_on: [1]}\n", name="p.yaml")
    assert by_id(draft)["2"].depends_on == ("1",)


def test_a_dependency_may_name_a_task_of_the_database() -> None:
    assert read_data([{"task_id": "A", "title": "a", "depends_on": ["OLD"]}], known={"OLD"}).tasks[0].depends_on


# ------------------------------------------------------------------------------------------------ Markdown


def test_markdown_says_the_same_as_json() -> None:
    tasks = by_id(draft_of("small.md"))
    assert list(tasks) == ["GREET-1", "GREET-2", "announce-it"]
    first = tasks["GREET-1"]
    assert (first.priority, first.estimated_hours, first.files) == (2, 2.0, ("greet.py",))
    assert first.check == ("python3", "greet.py")
    assert (tasks["GREET-2"].depends_on, tasks["GREET-2"].agent_type) == (("GREET-1",), "translator")
    last = tasks["announce-it"]
    assert (last.depends_on, last.soft_depends_on, last.priority) == (("GREET-1",), ("GREET-2",), 9)
    assert last.check == ("sh", "-c", "make test && make lint")


def test_the_description_is_the_rest_of_the_section_word_for_word() -> None:
    text = "Put it into greet.py.\n\n```python\n# not a heading\npriority: low\n```"
    assert by_id(draft_of("small.md"))["GREET-1"].description == text


@pytest.mark.parametrize(
    ("heading", "task_id", "title"),
    [
        ("T1: Do it", "T1", "Do it"),
        ("[T1] Do it", "T1", "Do it"),
        ("T1 - Do it", "T1", "Do it"),
        ("`T1`: Do **it**", "T1", "Do it"),
        ("T1 \u2014 Do it", "T1", "Do it"),
        ("Do it well", "do-it-well", "Do it well"),
        ("Café: au lait", "cafe-au-lait", "Café: au lait"),
        ("[ ] T1: Do it", "T1", "Do it"),
    ],
)
def test_the_id_is_what_a_heading_begins_with_or_a_slug_of_it(heading: str, task_id: str, title: str) -> None:
    task = markdown(f"## {heading}\n\ntext\n")[task_id]
    assert task.title == title


def test_a_heading_in_letters_that_no_id_may_hold_gets_a_stable_id() -> None:
    assert list(markdown("## 任务\n\nx\n")) == list(markdown("intro\n\n## 任务\n\ny\n"))


def test_a_ticked_heading_is_a_completed_task() -> None:
    assert markdown("## [x] T1: Do it\n")["T1"].status == "completed"


def test_a_lone_first_heading_without_fields_is_the_plans_title() -> None:
    assert list(markdown("# The plan\n\n## T1: a\n\n### T2: b\n")) == ["T1", "T2"]
    assert list(markdown("# T0: a\npriority: 1\n\n## T1: b\n")) == ["T0", "T1"]
    assert list(markdown("# T0: a\n\n## T1: b\ndepends on: T0\n")) == ["T0", "T1"]
    assert list(markdown("# T0: a\n\n# T1: b\n")) == ["T0", "T1"]
    assert list(markdown("# T0: a\n")) == ["T0"]


def test_text_that_belongs_to_no_task_is_a_warning() -> None:
    draft = read_plan("Preamble.\n\n# The plan\n\nIntroduction.\n\n## T1: a\n\nx\n", name="p.md")
    assert len(draft.warnings) == 2


@pytest.mark.parametrize(
    "line",
    [
        "depends on: A, B",
        "Depends On: `A`, `B`",
        "- depends on: A, B",
        "* **depends on:** A, B",
        "- **Depends on**: [A], [B]",
        "1. depends_on: [A, B]",
        "- [ ] depends-on: A , B",
        "__depends on__: [A](#a), [B](#b)",
        "`depends on: A, B`",
        "depends on:A,B",
        "- depends on:\n  - A\n  - `B`",
        "depends on:\n\n- A\n- B",
        "depends on: A\ndepends on: B",
        "depends on: first one, B",
        "depends on: Second, with a comma\ndepends on: A",
    ],
)
def test_dependencies_are_found_however_they_are_marked_up(line: str) -> None:
    tasks = markdown(f"## A: first one\n\nx\n\n## B: Second, with a comma\n\nx\n\n## C: last\n\n{line}\n\nThe text.\n")
    assert set(tasks["C"].depends_on) == {"A", "B"}
    assert tasks["C"].description == "The text."


def test_none_is_no_dependency() -> None:
    assert markdown("## A: a\n- depends on: none\n- files: -\n")["A"].depends_on == ()


def test_a_number_of_a_heading_names_its_task() -> None:
    assert markdown("## Task 1: Dig\n\nx\n\n## Task 2: Fill\n\ndepends on: Task 1\n")["task-2-fill"].depends_on == (
        "task-1-dig",
    )


def test_fields_in_code_quotes_and_html_are_text() -> None:
    body = "> priority: 1\n\n    priority: 2\n\n<div>\npriority: 3\n</div>"
    task = markdown(f"## A: a\n\n{body}\n")["A"]
    assert (task.priority, task.description) == (5, body)


def test_a_line_that_runs_on_from_a_quote_is_text() -> None:
    assert markdown("## A: a\n\n> As was said,\npriority: 1\n")["A"].priority == 5


def test_an_address_is_no_field() -> None:
    assert markdown("## A: a\n\nfiles://tmp/x\n")["A"].files == ()


def test_headings_in_fences_and_lists_are_no_tasks() -> None:
    assert list(markdown("## A: a\n\n~~~\n## B: b\n~~~\n\n- # C: c\n")) == ["A"]


def test_a_second_priority_line_is_text() -> None:
    task = markdown("## A: a\npriority: 1\n\nMore.\n\npriority: 2\n")["A"]
    assert (task.priority, task.description) == (1, "More.\n\npriority: 2")


def test_an_unknown_field_stays_in_the_description() -> None:
    assert markdown("## A: a\n\n- owner: Ann\n- priority: 3\n")["A"].description == "- owner: Ann"


def test_a_rule_below_field_lines_makes_no_heading_of_them() -> None:
    tasks = markdown("## A: a\npriority: 1\n---\n## B: b\ndepends on: A\n---\n")
    assert (list(tasks), tasks["A"].priority, tasks["B"].depends_on) == (["A", "B"], 1, ("A",))


def test_underlined_headings_are_tasks() -> None:
    assert list(markdown("Plan\n====\n\nA: a\n------\n\nx\n")) == ["A"]


def test_front_matter_is_no_task() -> None:
    draft = read_plan("---\ntitle: x\n---\n\n## A: a\n\nx\n", name="p.md")
    assert (list(by_id(draft)), len(draft.warnings)) == (["A"], 1)


# ------------------------------------------------------------------------------------------------ Task Master


def test_subtasks_with_dependencies_become_tasks_that_the_parent_waits_for() -> None:
    tasks = by_id(draft_of("taskmaster.json"))
    assert list(tasks) == ["1", "2.1", "2.2", "2.3", "2", "3", "4"]
    assert tasks["2"].depends_on == ("1", "2.1", "2.2", "2.3")


def test_a_subtask_waits_for_what_its_parent_waits_for() -> None:
    tasks = by_id(draft_of("taskmaster.json"))
    assert tasks["2.1"].depends_on == ("1",)
    assert tasks["2.2"].depends_on == ("2.1", "1")
    assert tasks["2.3"].depends_on == ("2.2", "2.1", "1")
    assert tasks["2.1"].priority == tasks["2"].priority


def test_subtasks_without_dependencies_are_part_of_the_description() -> None:
    rig = by_id(draft_of("taskmaster.json"))["3"]
    assert "3.1. Mast (done)\n\nPine." in rig.description
    assert "3.2. Sail (pending)\n\nLinen." in rig.description


def test_the_setting_decides_what_becomes_of_subtasks() -> None:
    assert {"3.1", "3.2", "2.1"} <= by_id(draft_of("taskmaster.json", subtasks="tasks")).keys()
    folded = draft_of("taskmaster.json", subtasks="description")
    assert list(by_id(folded)) == ["1", "2", "3", "4"]
    assert by_id(folded)["3"].depends_on == ("2",)
    assert any("'2.1'" in warning for warning in folded.warnings)


def test_task_master_fields_and_states_come_through() -> None:
    draft = draft_of("taskmaster.json")
    tasks = by_id(draft)
    assert tasks["1"].description == "Oak.\n\nDetails:\n\nTwo beams.\n\nTest strategy:\n\nFloat it."
    assert [tasks[each].status for each in "134"] == ["completed", "pending", "cancelled"]
    for told in ("'complexity'", "'metadata'", "'in-progress'"):
        assert any(told in warning for warning in draft.warnings)


def test_several_tags_stand_before_the_ids() -> None:
    one = {"tasks": [{"id": 1, "title": "a"}, {"id": 2, "title": "b", "dependencies": [1]}]}
    draft = read_plan(json.dumps({"master": one, "feature/x": one}), name="tasks.json")
    assert by_id(draft)["feature-x.2"].depends_on == ("feature-x.1",)
    assert by_id(draft)["master.2"].depends_on == ("master.1",)
    assert any("'feature/x'" in warning for warning in draft.warnings)


def test_the_flat_form_has_plain_ids() -> None:
    draft = read_plan('{"tasks": [{"id": 1, "title": "a"}, {"id": 2, "dependencies": ["1"]}]}', name="tasks.json")
    assert (draft.format, by_id(draft)["2"].depends_on) == ("taskmaster", ("1",))


def test_a_subtask_that_waits_for_its_parent_is_told_and_not_a_circle() -> None:
    subs = [{"id": 1, "title": "s", "dependencies": ["7"]}, {"id": 2, "title": "t", "dependencies": [1]}]
    draft = read_plan(json.dumps({"tasks": [{"id": 7, "title": "p", "subtasks": subs}]}), name="tasks.json")
    assert by_id(draft)["7.1"].depends_on == ()
    assert any("parent" in warning for warning in draft.warnings)


# ------------------------------------------------------------------------------------------------ Beads


def test_beads_edges_become_dependencies() -> None:
    tasks = by_id(draft_of("issues.jsonl"))
    assert tasks["cr-1"].depends_on == ("cr-2", "cr-3")
    assert tasks["cr-3"].depends_on == ("cr-2",)
    assert (tasks["cr-4"].depends_on, tasks["cr-4"].soft_depends_on) == ((), ("cr-3", "cr-5"))


def test_a_tombstone_and_the_edges_on_it_are_left_out_with_a_warning() -> None:
    draft = draft_of("issues.jsonl")
    assert "cr-9" not in by_id(draft)
    assert sum("tombstone" in warning for warning in draft.warnings) == 2


def test_beads_fields_and_states_come_through() -> None:
    draft = draft_of("issues.jsonl")
    tasks = by_id(draft)
    assert [task.priority for task in draft.tasks] == [2, 1, 8, 5, 7]
    assert [task.status for task in draft.tasks] == ["pending", "completed", "pending", "pending", "pending"]
    assert (tasks["cr-2"].description, tasks["cr-3"].estimated_hours) == ("Tables first", 1.5)
    assert any("'in_progress'" in warning for warning in draft.warnings)
    assert any("'created_at'" in warning for warning in draft.warnings)


def test_an_unknown_type_of_edge_is_soft_and_told() -> None:
    lines = [
        '{"id": "a", "title": "a"}',
        '{"id": "b", "title": "b", "dependencies": [{"depends_on_id": "a", "type": "x"}]}',
    ]
    draft = read_plan("\n".join(lines), name="issues.jsonl")
    assert by_id(draft)["b"].soft_depends_on == ("a",)
    assert any("'x'" in warning for warning in draft.warnings)
