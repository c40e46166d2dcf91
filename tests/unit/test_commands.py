"""The commands of the documents: how they are found, what they take, how they answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from crewyard import ClaudeAgentInvoker
from crewyard.server import clock, commands, plans
from crewyard.server.errors import InvalidInput
from crewyard.server.readers import read_data
from crewyard.server.store import Store

PLAN = {
    "tasks": [{"task_id": "first", "title": "First"}, {"task_id": "second", "title": "Second", "depends_on": ["first"]}]
}


@pytest.fixture
def invoker(git_repo: Path) -> ClaudeAgentInvoker:
    return ClaudeAgentInvoker(agent_name="orchestrator", repo=git_repo)


@pytest.fixture
def yard_db(git_repo: Path) -> Path:
    return git_repo / "data" / "orchestrator.db"


@pytest.fixture
def planned(yard_db: Path) -> None:
    store = Store(yard_db)
    store.run(plans.import_plan, read_data(PLAN), now=clock.now(), actor="test", agent_types=set())
    store.close()


@pytest.mark.usefixtures("planned")
def test_r025_r026_the_documents_own_call_works_with_text_values(invoker: ClaudeAgentInvoker) -> None:
    answer = invoker.invoke_command(command_name="find-available-work", parameters={"MAX_PARALLEL": "4"})
    assert answer["success"] is True
    assert [each["task_id"] for each in answer["available_tasks"]] == ["first"]


@pytest.mark.usefixtures("planned")
def test_r036_every_answer_has_success_action_and_time(invoker: ClaudeAgentInvoker) -> None:
    before = clock.now()
    for parameters in ({}, {"MAX_PARALLEL": "many"}):
        answer = invoker.invoke_command("find-available-work", parameters)
        assert answer["action"] == "find_available_work"
        assert before <= answer["timestamp"] <= clock.now()
    assert answer["success"] is False
    assert answer["error"] == "invalid_input"
    assert answer["parameter"] == "MAX_PARALLEL"


ODD: list[Any] = [
    "\ud800", "\x00x", "[" * 100_000, '[{"task_id": "' + "\\ud800" + '"}]', "1e400", "1e300", "-1", "nan", 10**30,
    10**400, float("inf"), float("nan"), None, ["x"], {"a": 1}, "../../etc", "x" * 5_000, "/" + "x/" * 3_000,
]  # fmt: skip
NEEDED = {"spawn-agent-session": {"TASK_ID": "none"}, "create-worktree": {"TASK_ID": "none"}}


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("name", [name for name in commands.NAMES if not commands.get(name).acts])
def test_no_value_whatever_breaks_a_command(invoker: ClaudeAgentInvoker, name: str) -> None:
    """Each is refused, or used, and its answer can be told as JSON."""
    for parameter in commands.parameters_of(commands.get(name)):
        for odd in ODD:
            if parameter.key == "EXPORT_PATH" and str(odd).isprintable() and len(str(odd)) < 50:
                continue  # that writes a file of this name
            answer = invoker.invoke_command(name, {parameter.key: odd})
            json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
            assert answer["success"] or answer["message"], (parameter.key, odd)


@pytest.mark.parametrize("name", [name for name in commands.NAMES if commands.get(name).acts])
def test_no_value_whatever_gets_past_what_a_command_takes(name: str) -> None:
    """Of those that act: what is taken can be written down; all else is refused."""
    command = commands.get(name)
    for parameter in commands.parameters_of(command):
        for odd in ODD:
            try:
                given = command.given({**NEEDED.get(name, {}), parameter.key: odd})
            except InvalidInput:
                continue
            json.dumps(given.model_dump(mode="json"), ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize(
    "hours", ["inf", "nan", "-1", 10**400, 1e300, float("nan"), [1], "\ud800", "[[", True * 0, {}], ids=repr
)
def test_hours_that_are_none_are_refused_and_nothing_is_reserved(invoker: ClaudeAgentInvoker, hours: Any) -> None:
    answer = invoker.invoke_command(
        "create-parallel-tasks", {"TASKS": [{"task_id": "first", "estimated_hours": hours}]}
    )
    assert answer["error"] in ("validation_failed", "invalid_input")
    json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    assert len(invoker.invoke_command("find-available-work")["available_tasks"]) == 1


@pytest.mark.parametrize(("name", "parameters"), [(None, {}), (5, {}), ("monitor-resource-usage", {1: 2})])
def test_a_name_that_is_no_text_is_refused(invoker: ClaudeAgentInvoker, name: Any, parameters: Any) -> None:
    assert invoker.invoke_command(name, parameters)["error"] == "invalid_input"


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("find-availabel-work", {}, "find-available-work"),
        ("find-available-work", {"MAX_PARALEL": 4}, "MAX_PARALLEL"),
        ("find-available-work", {"MAX_PARALLEL": 0}, "greater than or equal to 1"),
        ("find-available-work", {"ORCHESTRATOR_INSTANCE_ID": "7"}, "ORCHESTRATOR_INSTANCE_ID"),
        ("../../etc/passwd", {}, "One of find-available-work"),
    ],
)
def test_what_cannot_be_used_is_told_with_what_can(
    invoker: ClaudeAgentInvoker, name: str, parameters: dict[str, Any], says: str
) -> None:
    answer = invoker.invoke_command(name, parameters)
    assert (answer["success"], answer["error"]) == (False, "invalid_input")
    assert says in f"{answer['message']} {answer['hint']}"


def test_only_the_orchestrator_has_commands() -> None:
    with pytest.raises(InvalidInput, match="architect"):
        ClaudeAgentInvoker(agent_name="architect")


def test_r004_fifteen_commands_in_four_categories() -> None:
    assert {category: len(names) for category, names in commands.CATEGORIES.items()} == {
        "Work Distribution": 3,
        "Agent Lifecycle": 5,
        "Worktree Management": 3,
        "System Monitoring": 4,
    }
