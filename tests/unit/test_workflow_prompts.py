"""The commands of document 003 as MCP prompts: what there is to know at that moment, and the call to make."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference

from crewyard.server.compose import build_app
from crewyard.server.settings import Settings

from .conftest import Bench, Call, caller_of
from .workflows.line import DEPLOYED, REPOSITORY, SETTINGS, Line

pytestmark = pytest.mark.anyio


@pytest.fixture
def flowing(bench: Bench) -> Bench:
    """A yard with workflows."""
    settings = Settings.model_validate(bench.yard.settings.model_dump(exclude_unset=True) | {"workflows": SETTINGS})
    bench.yard = dataclasses.replace(bench.yard, settings=settings)
    return bench


@pytest.fixture(params=["auto", "legacy"])
async def call(request: pytest.FixtureRequest, flowing: Bench) -> AsyncIterator[Call]:
    async with Client(build_app(flowing.yard), mode=request.param) as client:
        yield caller_of(client)


async def told(call: Any, name: str, **arguments: str) -> str:
    [message] = (await call.client.get_prompt(name, arguments)).messages
    return str(message.content.text)


async def completed(call: Any, prompt: str, argument: str, begins: str = "") -> list[str]:
    found = await call.client.complete(PromptReference(name=prompt), {"name": argument, "value": begins})
    return list(found.completion.values)


async def test_all_commands_are_offered_beside_those_of_the_crew(call: Any) -> None:
    offered = {each.name: each for each in (await call.client.list_prompts()).prompts}

    assert {"orchestrate", "review-failures", "status", "assign", "emergency-overload"} <= set(offered)
    assert len(offered) == 2 + 31
    assert [each.name for each in offered["assign"].arguments or []] == ["workflow", "project_id", "worker_id"]
    assert [each.name for each in offered["dispatch-genesis"].arguments or []] == ["input"]
    assert all(each.description and each.title for each in offered.values())


async def test_a_command_tells_the_call_and_how_what_it_names_stands(bench: Bench, call: Any) -> None:
    line = Line(bench.store)
    name = line.dispatch()

    text = await told(call, "assign", workflow="genesis", project_id=name, worker_id="GENESIS-01")

    assert "queues(action='assign', workflow='genesis', project_id='P-1', worker_id='GENESIS-01')" in text
    assert "- Project P-1: it is number 1 of 1 in genesis" in text
    assert "- Worker genesis-01 is idle" in text


async def test_r202_status_holds_queues_workers_reviews_alerts_and_the_crew(bench: Bench, call: Any) -> None:
    line = Line(bench.store)
    for _ in range(4):
        line.dispatch()
    line.distribute()
    line.fail("P-1")
    bench.store.run(
        lambda tx: tx.run(
            "INSERT INTO workflow_alert (kind, subject, level, cause, begun_at) VALUES ('overflow', 'genesis', 'high', "
            "'21 wait', ?)",
            (line.now,),
        )
    )

    text = await told(call, "status")

    assert "- genesis: 2 waiting, 1 in work; workers: 1 busy, 1 idle" in text
    assert "- review: 1 waiting" in text
    assert "- alerts: overflow genesis" in text
    assert "2 tasks (" in text
    assert "5. monitor_resource_usage(action='check')" in text


async def test_free_words_of_which_a_client_may_show_the_first_only_are_marked(call: Any) -> None:
    assert "<command-args>" in await told(call, "dispatch-genesis", input="Make")
    assert "<command-args>" not in await told(call, "dispatch-genesis", input="Make a shop")


async def test_an_emergency_of_one_call_leaves_an_incident_behind_as_well(bench: Bench, call: Any) -> None:
    text = await told(call, "emergency-stop", project_id=Line(bench.store).dispatch())
    assert "1. projects(action='emergency_stop', project_id='P-1')" in text
    assert "2. analytics(action='incident_report', reason='emergency-stop'" in text
    assert "incident_report" not in await told(call, "resume", project_id="P-1")


async def test_r230_the_procedure_for_an_overload_is_told_in_its_order_and_ends_with_a_report(call: Any) -> None:
    text = await told(call, "emergency-overload")
    places = [
        text.index(each)
        for each in (
            "1. workers(action='scale_up', workflow='all', emergency=True)",
            "2. queues(action='triage', level='urgent')",
            "3. analytics(action='alert_administrators', reason='capacity-exceeded')",
            "4. analytics(action='incident_report', reason='emergency-overload'",
        )
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["emergency-scale-up", "priority-triage", "restart-failed-instances"])
async def test_g20_an_emergency_command_ends_with_a_report(call: Any, name: str) -> None:
    assert f"2. analytics(action='incident_report', reason='{name}'" in await told(call, name)


async def test_ids_and_names_are_completed(bench: Bench, call: Any) -> None:
    line = Line(bench.store)
    line.dispatch()
    line.dispatch(stage="development")
    line.distribute()
    line.finish("P-1", REPOSITORY)
    line.finish("P-2", DEPLOYED)

    assert await completed(call, "assign", "project_id", "P") == ["P-2", "P-1"]
    assert await completed(call, "assign", "worker_id", "dev") == ["development-01", "development-02"]
    assert await completed(call, "assign", "workflow", "ge") == ["genesis"]
    assert await completed(call, "scale-up", "workflow") == ["all", "genesis", "development", "content"]
    assert await completed(call, "queues", "workflow", "r") == ["review"]
    assert await completed(call, "priority", "level") == ["urgent", "high", "normal", "low"]
    assert await completed(call, "review", "exit", "re") == ["retry", "reject", "return"]
    assert await completed(call, "trigger-development", "repo_url", "https") == [REPOSITORY["repository_url"]]
    assert await completed(call, "dispatch-genesis", "input", "x") == []


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("asign", {}, "Did you mean 'assign'?"),
        ("assign", {"workflow": "genesis", "project_id": "P-1"}, "assign needs worker_id"),
        ("assign", {"workflow": "genisis", "project_id": "P-1", "worker_id": "genesis-01"}, "Did you mean 'genesis'?"),
        ("assign", {"workflow": "genesis", "project_id": "P-11", "worker_id": "genesis-01"}, "Did you mean 'P-1'?"),
        ("assign", {"workflow": "genesis", "project_id": "P-1", "worker_id": "gensis-01"}, "Did you mean 'genesis-01'"),
        ("priority", {"project_id": "P-1", "level": "hihg"}, "Did you mean 'high'?"),
        ("review", {"project_id": "P-1", "exit": "retyr"}, "Did you mean 'retry'?"),
        ("trigger-development", {"repo_url": "https://example.org/none"}, "project_not_found"),
        ("scale-up", {"workflow": "everything"}, "There are: genesis, development, content."),
        ("status", {"project": "P-1"}, "status has no argument 'project'"),
    ],
)
async def test_a_wrong_name_is_told_to_whoever_typed_it(
    bench: Bench, call: Any, name: str, arguments: dict[str, str], says: str
) -> None:
    Line(bench.store).dispatch()
    with pytest.raises(MCPError) as refused:
        await call.client.get_prompt(name, arguments)
    assert says in str(refused.value)


async def test_a_prompt_stays_within_what_a_model_is_told_at_once(bench: Bench, call: Any) -> None:
    line = Line(bench.store)
    for _ in range(60):
        line.dispatch("words " * 3_000)
    line.distribute()
    line.fail("P-1", message="words " * 3_000)
    for name, arguments in {"status": {}, "backlog": {"project_id": "P-1"}, "review": {"project_id": "P-1"}}.items():
        more = {"exit": "retry"} if name == "review" else {}
        assert len(await told(call, name, **arguments, **more)) < 10_000


async def test_a_worker_has_none_of_them(flowing: Bench, worker: Any) -> None:
    flowing.add_tasks("A")
    async with worker("A") as of_a:
        assert (await of_a.client.list_prompts()).prompts == []
