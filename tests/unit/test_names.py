"""Names from outside: what is safe as a path, a ref or an option, and what is not."""

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crewyard.server import names

UNSAFE = [
    "", ".", "..", ".hidden", "-rf", "--help", "a/b", "a\\b", "a b", "a..b", "a.", "a.lock", "a\n", "a\0b", "ä",
    "a" * 101, "a:b", "a~1", "a^", "a?", "a*", "a[", "@", "a@{1}", "$(id)", "a;b", "{task_id}",
]  # fmt: skip


@pytest.mark.parametrize("task_id", ["1", "T-1", "TASK-31-2", "bd-a1b2.3", "a_b", "1.2", "a" * 100])
def test_usual_ids_are_safe(task_id: str) -> None:
    assert names.is_safe_task_id(task_id)


@pytest.mark.parametrize("task_id", UNSAFE)
def test_ids_that_could_be_a_path_an_option_or_no_ref_are_not_safe(task_id: str) -> None:
    assert not names.is_safe_task_id(task_id)


def is_branch_for_git(name: str) -> bool:
    done = subprocess.run(["git", "check-ref-format", "--branch", name], check=False, capture_output=True, text=True)
    return done.stdout == f"{name}\n"


def is_branch_for_us(name: str) -> bool:
    try:
        names.check_branch("integration_branch", name)
    except ValueError:
        return False
    return True


@given(st.text(alphabet="aZ09._-/@{}lock ~^:?*[\\", min_size=1, max_size=12))
@example("a.lock")
def test_every_safe_id_makes_a_branch_for_git(task_id: str) -> None:
    if names.is_safe_task_id(task_id):
        assert is_branch_for_git(f"roadmap-implementation_task-{task_id}")


@pytest.mark.parametrize(
    "branch",
    [
        "main",
        "feature/x",
        "a.b",
        "a@b",
        "-x",
        "/a",
        "a/",
        "a//b",
        "a/.b",
        "a.lock",
        "a.lock/b",
        "a..b",
        "a.",
        "a b",
    ]
    + [f"a{sign}" for sign in "~^:?*[\\\t\x7f"]
    + ["a@{b", "ä"],
)
def test_branch_names_are_judged_as_git_judges_them(branch: str) -> None:
    assert is_branch_for_us(branch) == is_branch_for_git(branch)


def test_the_short_name_of_head_is_no_branch() -> None:
    assert not is_branch_for_us("@")


def test_a_refused_branch_name_is_told_with_its_key() -> None:
    with pytest.raises(ValueError, match="integration_branch: 'a b'"):
        names.check_branch("integration_branch", "a b")


@pytest.mark.parametrize("name", ["code_developer", "builder2", "claude-code", "A"])
def test_usual_agent_types_are_fine(name: str) -> None:
    names.check_agent_type(name)


@pytest.mark.parametrize("name", ["", "2nd", "-x", "a b", "a/b", "a.b", "ä", "a" * 65, "a\n"])
def test_an_agent_type_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name for an agent"):
        names.check_agent_type(name)


@pytest.mark.parametrize("template", ["{task_id}", "../worktrees/task-{task_id}", "a-{task_id}-b"])
def test_a_template_holds_the_task(template: str) -> None:
    names.check_template("worktree_path", template)


@pytest.mark.parametrize(
    "template", ["", "task", "{task_id}{task_id}", "{agent_id}", "{task_id.x}", "{", "}", "{}", "{0}"]
)
def test_a_template_without_exactly_the_task_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="worktree_path"):
        names.check_template("worktree_path", template)
