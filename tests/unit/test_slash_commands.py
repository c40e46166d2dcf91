"""What a client's user can pick from: slash commands that state how things stand, and ids while they are typed."""

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

pytestmark = pytest.mark.anyio

TASK, AGENT, LOG = "crewyard://tasks/{task_id}", "crewyard://agents/{agent_id}", "crewyard://agents/{agent_id}/log"
FAILED = {"status": "failed", "needs_review": 1, "error_code": "process_crashed"}
MESSAGE = "crewyard://messages/{message_id}"


async def told(call: Any, name: str, **arguments: str) -> str:
    [message] = (await call.client.get_prompt(name, arguments)).messages
    assert message.role == "user"
    return str(message.content.text)


async def completed(call: Any, of: str, argument: str, begins: str = "") -> Any:
    ref = ResourceTemplateReference(uri=of) if "://" in of else PromptReference(name=of)
    return (await call.client.complete(ref, {"name": argument, "value": begins})).completion


async def test_the_lead_is_offered_each_command_with_its_arguments(call: Any) -> None:
    offered = {each.name: each for each in (await call.client.list_prompts()).prompts}

    assert list(offered) == ["orchestrate", "status", "review-failures"]
    assert [each.name for each in offered["orchestrate"].arguments or []] == ["plan"]
    assert all(each.description and each.title for each in offered.values())


async def test_orchestrate_with_a_file_imports_it(bench: Any, call: Any) -> None:
    bench.add_tasks("A")

    text = await told(call, "orchestrate", plan=" docs/it's my PLAN.md ")

    assert r"plan(action='import', path='docs/it\'s my PLAN.md')" in text
    assert "1 task (1 ready); 0 agents at work" in text


async def test_orchestrate_with_a_goal_has_it_cut_into_tasks(call: Any) -> None:
    text = await told(call, "orchestrate", plan="a search page\nwith an index")

    assert "The user wants: a search page\nwith an index\n" in text
    assert "plan(action='add')" in text
    assert "There are no tasks yet." in text


async def test_orchestrate_says_where_a_clients_first_word_is_not_all(call: Any) -> None:
    assert "<command-args>" in await told(call, "orchestrate", plan="build")
    assert "<command-args>" not in await told(call, "orchestrate", plan="build it")


async def test_orchestrate_without_a_plan_goes_on(call: Any) -> None:
    assert "Go on with the tasks that are there" in await told(call, "orchestrate")
    assert "Go on with the tasks that are there" in await told(call, "orchestrate", plan=" ")


async def test_status_holds_what_the_database_says_now(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    agent_id = bench.add_agent("A")
    assert f"Agents at work:\n- {agent_id} on A, for" in await told(call, "status")

    await call("route", target=agent_id, content="x")
    bench.finish(agent_id, "failed", code=3)
    text = await told(call, "status")
    assert "Agents at work" not in text
    assert "Next attempts:\n- A: attempt 2 not before" in text
    assert "Nobody supervises at this moment" in text


async def test_status_lists_what_waits_for_a_person(bench: Any, call: Any) -> None:
    bench.add_tasks("A", **FAILED, error_message="the tests fail")

    assert "Waits for a person:\n- A: is in review: the tests fail" in await told(call, "status")


async def test_review_failures_tells_the_cause_of_each_and_the_next_call(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B", **FAILED, error_message="the tests fail")
    bench.add_tasks("C")

    text = await told(call, "review-failures")
    assert "## A: Task A\n" in text
    assert "## B: Task B\n" in text
    assert "## C" not in text
    assert text.count("the tests fail") == 2

    alone = await told(call, "review-failures", task_id="B")
    assert "## B: Task B\n" in alone
    assert "## A" not in alone


async def test_review_failures_says_that_there_are_none(call: Any) -> None:
    assert (
        await told(call, "review-failures") == "Tell the user that no task has failed, and that no error is unresolved."
    )


async def test_many_failures_and_needs_stay_within_what_a_model_is_told_at_once(bench: Any, call: Any) -> None:
    for number in range(60):
        bench.add_tasks(f"T{number:02}", **FAILED, error_message="words " * 500)

    for name in ("status", "review-failures"):
        assert len(await told(call, name)) < 10_000
    assert "And 50 failed tasks more" in await told(call, "review-failures")
    assert "- and 40 more" not in await told(call, "status")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("statu", {}, "invalid_input: There is no prompt 'statu'. Did you mean 'status'?"),
        ("orchestrate", {"paln": "x"}, "Did you mean 'plan'?"),
        ("status", {"task_id": "A"}, "status has no argument 'task_id'. Known: none."),
        ("review-failures", {"task_id": "nope"}, "task_not_found"),
    ],
)
async def test_a_wrong_name_or_argument_is_refused_with_what_would_be_right(
    call: Any, name: str, arguments: dict[str, str], says: str
) -> None:
    with pytest.raises(MCPError) as refused:
        await call.client.get_prompt(name, arguments)
    assert says in str(refused.value)


async def test_ids_are_completed_by_how_they_begin(bench: Any, call: Any) -> None:
    bench.add_tasks("alpha", "alpine", "beta", "100%")
    agent_id = bench.add_agent("beta")
    sent = await call("route", target="lead", content="x")

    assert (await completed(call, TASK, "task_id", "al")).values == ["alpha", "alpine"]
    assert (await completed(call, TASK, "task_id", "%")).values == []
    assert (await completed(call, "review-failures", "task_id", "be")).values == ["beta"]
    for template in (AGENT, LOG):
        assert (await completed(call, template, "agent_id", agent_id[:3])).values == [agent_id]
    assert (await completed(call, MESSAGE, "message_id", sent["message_id"][:6])).values == [sent["message_id"]]
    assert (await completed(call, "orchestrate", "plan", "x")).values == []


async def test_a_hundred_ids_are_shown_and_the_rest_is_told(bench: Any, call: Any) -> None:
    bench.add_tasks(*(f"T{number:03}" for number in range(101)))

    found = await completed(call, TASK, "task_id", "T")
    assert (len(found.values), found.total, found.has_more) == (100, 101, True)
    fewer = await completed(call, TASK, "task_id", "T00")
    assert (len(fewer.values), fewer.total, fewer.has_more) == (10, 10, False)


@pytest.mark.parametrize(
    ("of", "argument"), [("crewyard://nothing/{task_id}", "task_id"), ("nothing", "task_id"), (TASK, "agent_id")]
)
async def test_what_is_not_there_is_not_completed(call: Any, of: str, argument: str) -> None:
    with pytest.raises(MCPError):
        await completed(call, of, argument)


async def test_a_worker_completes_only_what_it_may_read(bench: Any, call: Any, worker: Any) -> None:
    theirs = await call("route", target="architect", content="x")
    bench.add_tasks("A")
    async with worker("A") as of_a:
        mine = await call("route", target="builder", content="x")
        assert (await completed(of_a, TASK, "task_id")).values == ["A"]
        found = await completed(of_a, MESSAGE, "message_id")
        assert (found.values, found.total) == ([mine["message_id"]], 1)
        assert theirs["message_id"] not in found.values
        with pytest.raises(MCPError):
            await completed(of_a, AGENT, "agent_id")


async def test_a_worker_has_no_slash_commands(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        assert (await call.client.list_prompts()).prompts == []
        with pytest.raises(MCPError):
            await call.client.get_prompt("status")
        with pytest.raises(MCPError):
            await completed(call, "review-failures", "task_id")


async def test_an_agent_that_has_ended_completes_nothing(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        bench.end_agent(bench.value("SELECT agent_id FROM agent_lifecycle"))
        with pytest.raises(MCPError, match="not_authorized"):
            await completed(call, TASK, "task_id")
