"""The commands of the documents: how they are found, what they take, how they answer."""

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
