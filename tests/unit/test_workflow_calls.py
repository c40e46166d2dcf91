"""A slash command that is typed at a terminal: who may give it, what it calls, and what is kept of it (G-20)."""

import dataclasses
import json
from typing import Any

import pytest

from crewyard import tools
from crewyard.server import workflow_calls
from crewyard.server.compose import build_workflow_app
from crewyard.server.endpoint import Endpoint
from crewyard.server.errors import InvalidInput, NotAuthorized, ProjectNotFound, WorkflowNotFound
from crewyard.server.settings import Settings
from crewyard.server.workflow_calls import Outcome
from crewyard.server.yard import Yard

from .conftest import Bench
from .workflows.line import LEAD, SETTINGS, Line

pytestmark = pytest.mark.anyio


@pytest.fixture
def flowing(bench: Bench) -> Bench:
    """A yard with workflows, of which architects are administrators."""
    workflows = SETTINGS | {"administrators": ["architect"]}
    settings = Settings.model_validate(bench.yard.settings.model_dump(exclude_unset=True) | {"workflows": workflows})
    bench.yard = dataclasses.replace(bench.yard, settings=settings)
    Line(bench.store)
    return bench


def of_agent(bench: Bench, agent_type: str) -> Yard:
    """The yard as an agent of that type has it in its shell."""
    bench.add_tasks("A")
    bench.add_agent("A", agent_type=agent_type, token="secret")
    return Yard(bench.yard.root, bench.yard.settings, lambda: bench.operations, token="secret")


async def given(yard: Yard, line: str, build: Any = build_workflow_app) -> Outcome:
    return await workflow_calls.carried_out(yard, line, build)


def kinds(bench: Bench, subject: str) -> list[str]:
    rows = bench.store.read(
        lambda tx: tx.all("SELECT kind FROM event WHERE subject_type = ? ORDER BY event_id", (subject,))
    )
    return [row["kind"] for row in rows]


def without_workers(yard: Yard) -> Endpoint:
    """Tools of which one is not there, so that each call of it is refused."""
    some = [tool for tool in tools.for_workflows() if tool.name != "workers"]
    return Endpoint(yard, some, some, sights={}, name="crewyard")


async def test_a_command_is_the_call_of_a_tool_and_its_answer(flowing: Bench) -> None:
    outcome = await given(flowing.yard, "/queues genesis")

    [done] = outcome.done
    assert done.call == "queues(action='status', workflow='genesis')"
    assert done.answer["status"] == "success"
    assert outcome.is_whole
    assert not outcome.is_supervised


async def test_r230_each_use_of_an_emergency_is_audited_and_leaves_an_incident(flowing: Bench) -> None:
    Line(flowing.store).dispatch()
    outcome = await given(flowing.yard, "/emergency-overload the fair has begun")

    assert kinds(flowing, "emergency") == ["emergency_begun", "emergency_ended"]
    incident = flowing.row("incident", incident_id=outcome.incident_id)
    facts = json.loads(incident["facts"])
    assert (incident["cause"], incident["details"], incident["opened_by"]) == (
        "emergency-overload", "the fair has begun", LEAD,
    )  # fmt: skip
    assert [each.split("(")[0] for each in facts["did"]] == ["workers", "queues", "analytics"]
    assert facts["queues"]["genesis"]["waiting"] == 1


async def test_r227_what_only_looks_as_a_health_check_leaves_no_incident(flowing: Bench) -> None:
    assert (await given(flowing.yard, "/health-check")).incident_id is None
    assert (await given(flowing.yard, "/queues")).incident_id is None
    assert flowing.value("SELECT count(*) FROM incident") == 0
    assert kinds(flowing, "emergency") == ["emergency_begun", "emergency_ended"]


async def test_a_step_that_is_refused_does_not_keep_the_next_from_being_done(flowing: Bench) -> None:
    outcome = await given(flowing.yard, "/emergency-overload", without_workers)

    assert [each.is_refused for each in outcome.done] == [True, False, False]
    assert (outcome.is_whole, outcome.is_refused) == (False, False)
    did = json.loads(flowing.row("incident")["facts"])["did"]
    assert "): refused: invalid_input: There is no tool 'workers'" in did[0]


async def test_what_was_refused_whole_opens_no_incident(flowing: Bench) -> None:
    outcome = await given(flowing.yard, "/emergency-scale-up", without_workers)

    assert outcome.is_refused
    assert flowing.value("SELECT count(*) FROM incident") == 0


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("/emergency-stop P-9", ProjectNotFound),
        ("/emergency-scale-up everything", WorkflowNotFound),
        ("/priority-triage hihg", InvalidInput),
        ("/emergency-failure P-9", ProjectNotFound),
        ("/emergency", InvalidInput),
    ],
)
async def test_a_wrong_name_changes_nothing(flowing: Bench, line: str, error: type[Exception]) -> None:
    before = flowing.value("SELECT max(event_id) FROM event")
    with pytest.raises(error):
        await given(flowing.yard, line)
    assert flowing.value("SELECT max(event_id) FROM event") == before
    assert flowing.operations.calls == []


async def test_g20_an_agent_that_is_no_administrator_gives_no_emergency_command(flowing: Bench) -> None:
    yard = of_agent(flowing, "builder")
    with pytest.raises(NotAuthorized, match="architect"):
        await given(yard, "/emergency-scale-up all")

    assert kinds(flowing, "emergency") == []
    assert kinds(flowing, "caller") == ["not_authorized"]


async def test_g20_an_administrators_agent_does_and_is_named(flowing: Bench) -> None:
    yard = of_agent(flowing, "architect")
    outcome = await given(yard, "/emergency-scale-up all")

    assert outcome.is_whole
    assert flowing.row("incident")["opened_by"].startswith("architect-")
    with pytest.raises(NotAuthorized, match="Only the lead may give /scale-up"):
        await given(yard, "/scale-up genesis")


async def test_without_workflows_it_says_how_to_have_some(bench: Bench) -> None:
    with pytest.raises(InvalidInput) as refused:
        await given(bench.yard, "/queues")
    assert "crewyard init --workflows" in refused.value.hint
