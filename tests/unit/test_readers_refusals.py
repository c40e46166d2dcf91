"""A plan that is not sound is refused whole, naming file, line or id; nothing else is ever raised."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewyard.server.errors import CrewyardError, DependencyCycle, InvalidInput, PlanRefused
from crewyard.server.readers import read_data, read_plan
from crewyard.server.readers.checks import MOST_TASKS
from crewyard.server.readers.syntax import MAX_BYTES


def refusal(content: str | bytes, name: str = "plan") -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read_plan(content, name=name)
    assert caught.value.message.startswith(f"{name}:")
    assert caught.value.hint
    return caught.value


def task_with(**values: Any) -> str:
    return json.dumps({"tasks": [{"task_id": "A", "title": "a", **values}]})


def two(**values: Any) -> str:
    return json.dumps({"tasks": [{"task_id": "A", "title": "a"}, {"task_id": "B", "title": "b", **values}]})


LETTERS = "bcdefghijklm"
BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("a" + LETTERS, LETTERS, strict=False)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"tasks\0", "binary"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8"),
        ("tasks: [".encode("utf-16"), "not UTF-8"),
        (b"# ok\n\xff", "line 2"),
        ("\ud800", "binary"),
        ("Just prose.", "neither JSON"),
        ("{}", "no tasks"),
        ('{"tasks": []}', "no tasks"),
        ("tasks: []", "no tasks"),
        ('{"tasks": [\n{"task_id": ]}', "line 2, column 13"),
        ("tasks:\n  - task_id: 'A\n", "line 3"),
        ("tasks:\n\t- task_id: A\n", "line 2"),
        ("tasks: []\n---\ntasks: []\n", "line 2"),
        ('{"id": "a", "title": "x"}\n{"id": \n', "line 2"),
        ('{"id": "a", "title": "x"}\n7\n', "line 2"),
        ("[" * 100_000, "deep"),
        ('{"tasks": ' + "[" * 5_000 + "]" * 5_000 + "}", "deep"),
        ("tasks: " + "[" * 100_000, "deep"),
        (BOMB + "tasks: *m\n", "aliases"),
        ("tasks: &a [*a]\n", "aliases"),
        ("tasks: *nowhere\n", "line 1"),
        ("tasks: !!python/object/apply:os.system ['true']\n", "line 1"),
        ("tasks:\n- task_id: 2024-13-45\n", "value"),
        ("tasks: !!bool maybe\n", "value"),
        ("tasks: !!timestamp never\n", "value"),
        ('{"tasks": [{"task_id": "A", "title": "a", "title": "b"}]}', "'title' stands twice"),
        ("tasks:\n- task_id: A\n  task_id: B\n", "line 3"),
        ('{"tasks": [{"task_id": "A", "estimated_hours": NaN}]}', "NaN"),
        ('{"tasks": [{"task_id": "A", "priority": ' + "9" * 5_000 + "}]}", "digits"),
        ('{"tasks": {"A": {}}}', "list"),
        ('{"tasks": ["A"]}', "tasks[0]"),
        ('{"tasks": [{"title": "a"}]}', "tasks[0] has no task_id"),
        ("tasks:\n- task_id: 1.1\n", "quotes"),
        ("tasks:\n- task_id: yes\n", "quotes"),
        ("tasks: []\n? [a]\n: b\n", "line 2"),
        ('{"specs": [{"title": "x"}], "tasks": [{"task_id": "A"}]}', "specs[0] has no spec_id"),
        ('{"specs": [{"spec_id": "S"}, {"spec_id": "S"}], "tasks": [{"task_id": "A"}]}', "'S' is used twice"),
        ("## A: a\npriority: soon\n", "line 1"),
        ("## A: a\n\n## B: b\nhours: -1\n", "line 3"),
        ("## A: a\nhours: many\n", "hours"),
        ("## A: a\nagent: the best\n", "agent"),
        ("## A: a\ncheck: make 'x\n", "check"),
        ("## ../../etc/passwd: evil\n", "../../etc/passwd"),
        ("## [-rf] evil\n", "'-rf'"),
        ("## A: a\n\n## A: b\n", "line 1 and line 3"),
        ("## Tests\n\nx\n\n## Tests\n\ny\n", "twice"),
        ("## A: a\ndepends on: Q\n", "'Q'"),
        ('{"tasks": [{"id": 1, "title": "a", "subtasks": 5}]}', "subtasks"),
        ('{"tasks": [{"id": 1, "title": "a"}, 3]}', "tasks[1]"),
        ('{"tasks": [{"id": 1, "title": "a"}, {"title": "b"}]}', "tasks[1]"),
        ('{"tasks": [{"id": 1, "title": "a", "dependencies": [9]}]}', "'9'"),
        ('{"tasks": [{"id": 1, "title": "a", "dependencies": "2"}]}', "dependencies"),
        ('{"id": "a", "title": "x", "dependencies": [1]}', "dependencies[0]"),
        ('{"id": "a", "title": "x", "dependencies": [{"type": "blocks"}]}', "depends_on_id"),
        ('{"id": "a", "title": "x", "dependencies": {}}', "dependencies"),
        ('{"id": "a", "title": "x", "dependencies": [{"depends_on_id": "z", "type": "parent-child"}]}', "'z'"),
        ('{"id": "a", "title": "x", "priority": 5}', "priority"),
        ('{"id": "a", "title": "x", "estimated_minutes": "1"}', "estimated_minutes"),
        ('{"id": "a", "title": "x"}\n{"title": "y"}', "line 2"),
        ('{"id": "a", "title": "x"}\n{"id": "a", "title": "y"}', "line 1 and line 2"),
    ],
)
def test_what_cannot_be_read_is_refused_naming_the_place(content: str | bytes, told: str) -> None:
    error = refusal(content)
    assert isinstance(error, PlanRefused)
    assert told in error.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("priority", each) for each in (0, 11, -1, 2.5, True, "soon", [], {}, "100")],
        *[("estimated_hours", each) for each in (0, -1, 100_001, True, "2", [], 1e300)],
        *[("depends_on", each) for each in ("A", 1, {"A": 1}, [["A"]], [None], [True], [""])],
        *[("soft_depends_on", each) for each in ("A", [{}])],
        *[("files", each) for each in ("a.py", [1], [""])],
        *[("check", each) for each in (1, [1], {"a": 1}, "make 'x", "a\0b", ["a\0b"])],
        *[("agent_type", each) for each in (1, "a b", "-x", [], "x" * 65)],
        *[("title", each) for each in (True, [], {})],
        *[("description", each) for each in ([], "\ud800", "a\0b")],
        *[("spec_id", each) for each in ([], True, "\ud800", 1.5)],
        *[("status", each) for each in ("done?", 5, [])],
    ],
)
def test_a_wrong_value_is_refused_naming_key_and_task(key: str, value: object) -> None:
    message = refusal(task_with(**{key: value})).message
    assert key in message
    assert "'A'" in message


@pytest.mark.parametrize(
    "task_id",
    ["../x", "a/b", "a b", "-x", ".x", "a..b", "a.lock", "a.", "ä", "a\n", "x" * 101, "$(x)", "\u202ex", "~", "a:b"],
)
def test_an_id_that_is_no_safe_name_is_refused_with_the_rule(task_id: str) -> None:
    error = refusal(task_with(task_id=task_id))
    assert "cannot be a task id" in error.message
    assert "letters, digits" in error.hint


def test_ids_that_differ_only_in_case_are_refused() -> None:
    assert "only in case" in refusal('{"tasks": [{"task_id": "Ab"}, {"task_id": "aB"}]}').message
    with pytest.raises(PlanRefused, match="database"):
        read_data([{"task_id": "ab"}], known={"AB"})


def test_an_id_used_twice_is_refused_with_both_places() -> None:
    assert "tasks[0] and tasks[1]" in refusal('{"tasks": [{"task_id": "A"}, {"task_id": "A"}]}').message


def test_a_missing_dependency_is_refused_with_the_nearest_id() -> None:
    message = refusal('{"tasks": [{"task_id": "BUILD-1"}, {"task_id": "B", "depends_on": ["BUILD1"]}]}').message
    assert "'B'" in message
    assert "'BUILD1'" in message
    assert "did you mean 'BUILD-1'?" in message


def test_a_missing_soft_dependency_is_refused_too() -> None:
    assert "'Q'" in refusal(two(soft_depends_on=["Q"])).message


@pytest.mark.parametrize("key", ["depends_on", "soft_depends_on"])
def test_a_task_that_waits_for_itself_is_a_circle(key: str) -> None:
    error = refusal(two(**{key: ["B"]}))
    assert isinstance(error, DependencyCycle)
    assert error.details["chain"] == ["B", "B"]


def test_a_circle_is_refused_with_its_chain() -> None:
    tasks = [{"task_id": a, "title": a, "depends_on": [b]} for a, b in ("AB", "BC", "CA")]
    error = refusal(json.dumps({"tasks": [*tasks, {"task_id": "D", "title": "d", "depends_on": ["A"]}]}))
    assert isinstance(error, DependencyCycle)
    assert "A → B → C → A" in error.message
    assert error.details["chain"] == ["A", "B", "C", "A"]


def test_a_circle_of_thousands_has_a_short_message() -> None:
    size = 5_000
    tasks = [{"task_id": f"T{n}", "title": "t", "depends_on": [f"T{(n + 1) % size}"]} for n in range(size)]
    error = refusal(json.dumps({"tasks": tasks}))
    assert (error.code, error.details["length"]) == ("dependency_cycle", size)
    assert len(json.dumps([error.message, error.details])) < 5_000


def test_circles_in_every_format_are_circles() -> None:
    for content in (
        "tasks:\n- {task_id: A, depends_on: [B]}\n- {task_id: B, depends_on: [A]}\n",
        "## A: a\ndepends on: B\n\n## B: b\ndepends on: A\n",
        '{"tasks": [{"id": 1, "dependencies": [2]}, {"id": 2, "dependencies": [1]}]}',
        '{"id": "A", "title": "a", "dependencies": [{"depends_on_id": "A", "type": "blocks"}]}',
    ):
        assert isinstance(refusal(content), DependencyCycle)


def test_soft_dependencies_may_go_in_a_circle() -> None:
    tasks = [{"task_id": a, "title": a, "soft_depends_on": [b]} for a, b in ("AB", "BA")]
    assert len(read_data(tasks).tasks) == 2


def test_a_dependency_that_is_both_hard_and_soft_is_told() -> None:
    draft = read_data(
        [{"task_id": "A", "title": "a"}, {"task_id": "B", "title": "b", "depends_on": ["A"], "soft_depends_on": ["A"]}]
    )
    assert "both hard and soft" in draft.warnings[0]


def test_all_problems_are_counted_and_the_first_five_told() -> None:
    tasks = [{"task_id": f"T{n}", "title": "t", "priority": 99} for n in range(70)]
    error = refusal(json.dumps({"tasks": tasks}))
    assert error.details["problem_count"] == 70
    assert error.message.startswith("plan: 70 problems:")
    assert "'T4'" in error.message
    assert "'T5'" not in error.message
    assert "and 65 more" in error.message
    assert len(error.details["problems"]) == 50


def test_a_circle_among_other_problems_is_one_of_them() -> None:
    error = refusal(two(depends_on=["B"], priority=99))
    assert isinstance(error, PlanRefused)
    assert "B → B" in error.message


def test_a_huge_plan_is_refused_before_it_is_parsed() -> None:
    assert "MiB" in refusal(b"x" * (MAX_BYTES + 1)).message
    many = {"tasks": [{"task_id": str(n)} for n in range(MOST_TASKS + 1)]}
    assert str(MOST_TASKS) in refusal(json.dumps(many)).message


def test_an_unknown_format_or_setting_is_invalid_input() -> None:
    with pytest.raises(InvalidInput, match="xml"):
        read_plan("## A: a", name="p", format="xml")
    with pytest.raises(InvalidInput, match="maybe"):
        read_plan("## A: a", name="p", subtasks="maybe")


def test_a_given_format_is_taken_at_its_word() -> None:
    with pytest.raises(PlanRefused, match="broken JSON"):
        read_plan("## A: a", name="p", format="taskmaster")
    assert read_plan("tasks:\n- task_id: A\n\n# T1\n", name="p", format="yaml").format == "native"


def test_an_alias_that_does_not_multiply_is_fine() -> None:
    text = "tasks:\n- {task_id: A, files: &f [a.py]}\n- {task_id: B, files: *f}\n"
    assert [task.files for task in read_plan(text, name="p").tasks] == [("a.py",), ("a.py",)]


# Anything at all either is a plan or is refused.
KEYS = """tasks specs priorities task_id id title description depends_on soft_depends_on dependencies subtasks status
priority files check type depends_on_id issue_type estimated_minutes estimated_hours x"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=5),
    max_leaves=20,
)
FRAGMENTS = [
    *("tasks: ", "- task_id: ", "\n", "  ", "- ", "# ", "## T1: a", "depends on: ", "priority: 1", "T1", "---", "```"),
    *("&a ", "*a", "[", "]", "{", "}", ":", "'", '"', "> ", "!!int ", "<<: ", "|", "\t", "\\", "é", "`", "**"),
]


@given(st.one_of(JSON.map(json.dumps), st.lists(JSON.map(json.dumps), max_size=3).map("\n".join)))
def test_any_json_is_read_or_refused(content: str) -> None:
    for format_ in ("auto", "native", "taskmaster", "beads"):
        with contextlib.suppress(CrewyardError):
            read_plan(content, name="p", format=format_)


@given(st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join), st.binary()))
def test_any_text_is_read_or_refused(content: str | bytes) -> None:
    for format_ in ("auto", "yaml", "markdown"):
        with contextlib.suppress(CrewyardError):
            read_plan(content, name="p", format=format_)
