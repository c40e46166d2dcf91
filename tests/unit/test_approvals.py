"""Who may approve a merge, what an approval is of, and what happens where nobody gives one (C-12, R-137)."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from mcp import Client

from crewyard.server import assignments, clock, dispatches, events, holds, merges, progress, standstill, why, wishes
from crewyard.server.compose import build_app
from crewyard.server.errors import ResourceExhaustion, TaskNotCompleted
from crewyard.server.yard import Yard

from .conftest import caller_of

NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def careful(bench: Any) -> Any:
    """A bench whose merges wait for approvals."""
    merge = bench.yard.settings.merge.model_copy(update={"auto_approve": False})
    bench.yard.settings = bench.yard.settings.model_copy(update={"merge": merge})
    return bench


@pytest.fixture
def agent(careful: Any) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """``async with agent(task_id, agent_type) as call``: the tools as that agent sees them."""

    @asynccontextmanager
    async def connect(task_id: str, agent_type: str) -> Any:
        careful.add_tasks(task_id)
        name = careful.add_agent(task_id, agent_type=agent_type, token=f"token of {task_id}")
        yard = Yard(careful.yard.root, careful.yard.settings, lambda: careful.operations, token=f"token of {task_id}")
        async with Client(build_app(yard)) as client:
            call = caller_of(client)
            call.name = name
            yield call

    return connect


def enqueue(bench: Any, task_id: str, head: str = "c0ffee", at: str = NOW, *, anew: bool = True) -> Any:
    if anew:
        bench.add_tasks(task_id)
        bench.end_agent(bench.add_agent(task_id))
    work = bench.value("SELECT orchestrator_task_id FROM orchestrator_task WHERE task_id = ?", task_id)
    if anew:
        bench.store.run(assignments.placed, work, path=f"/w/{task_id}", branch=f"b-{task_id}")
        bench.store.run(assignments.proven, work, no_change=False, now=at, actor="test")
    return bench.store.run(merges.enqueue, work, head=head, target="roadmap", approved_by=None, now=at, actor="test")


def approve(bench: Any, task_id: str, by: str = "lead", at: str = NOW) -> Any:
    return bench.store.run(wishes.request_merge, task_id, by, at, by)


def due(bench: Any) -> list[str]:
    return [row["task_id"] for row in bench.store.read(merges.due, auto_approve=False, now=clock.plus(NOW, 9e6))]


def test_an_approval_is_stored_with_its_actor_and_time_and_lets_the_merge_go_on(careful: Any) -> None:
    merge_id = enqueue(careful, "A")["merge_id"]
    assert due(careful) == []
    approve(careful, "A", "architect-1", clock.plus(NOW, 5))
    row = careful.row("merge_request", task_id="A")
    assert (row["approved_by"], row["approved_at"]) == ("architect-1", clock.plus(NOW, 5))
    assert due(careful) == ["A"]
    last = careful.store.read(events.of, "merge", str(merge_id))[-1]
    assert (last["kind"], last["actor"], last["at"]) == ("merge_approved", "architect-1", clock.plus(NOW, 5))


def test_an_approval_counts_for_the_head_that_was_approved_and_no_other(careful: Any) -> None:
    enqueue(careful, "A")
    approve(careful, "A")
    enqueue(careful, "A", anew=False)
    assert due(careful) == ["A"], "the same head is asked for again"
    enqueue(careful, "A", head="decaf", anew=False)
    row = careful.row("merge_request", task_id="A")
    assert (row["head_commit"], row["approved_by"], row["approved_at"]) == ("decaf", None, None)
    assert due(careful) == []
    approve(careful, "A")
    assert due(careful) == ["A"]


def test_work_that_is_not_done_cannot_be_approved(careful: Any) -> None:
    careful.add_tasks("A")
    careful.add_agent("A")
    with pytest.raises(TaskNotCompleted):
        approve(careful, "A")


@pytest.mark.anyio
async def test_the_queue_tells_what_waits_for_an_approval_and_what_is_next(careful: Any, call: Any) -> None:
    enqueue(careful, "A")
    enqueue(careful, "B")
    approve(careful, "B")
    seen = await call("worktrees", action="queue")
    first, second = seen["merge_queue"]
    assert (first["task_id"], first["waits_for"], "approved_by" in first) == ("A", "approval", False)
    assert (second["task_id"], second["approved_by"], "waits_for" in second) == ("B", "lead", False)
    assert seen["next_to_merge"] == "B"
    answer = await call("why", subject="A")
    assert "waits for an approval" in answer["because"]
    assert answer["next_call"] == "worktrees(action='merge', task_id='A', approve=True)"


@pytest.mark.anyio
async def test_an_agent_of_an_authorized_role_approves_and_resolves_under_its_own_name_and_does_no_more(
    agent: Any, careful: Any
) -> None:
    async with agent("R", "architect") as call:
        tools = {tool.name: tool for tool in (await call.client.list_tools()).tools}
        assert set(tools) == {"report", "route", "agents", "plan", "worktrees"}
        actions = tools["worktrees"].input_schema["properties"]["action"]["enum"]
        assert actions == ["queue", "conflicts", "merge", "resolve"]
        assert (await call("worktrees"))["action"] == "queue"
        await call("worktrees", action="merge", task_id="A", approve=True)
        assert careful.operations.calls[-1][1] == {"task_id": "A", "approved_by": call.name, "actor": call.name}
        await call("worktrees", action="resolve", task_id="A", strategy="ours")
        assert careful.operations.calls[-1] == ("resolve", {"task_id": "A", "strategy": "ours", "actor": call.name})
        for refused in ({"action": "cleanup", "all": True}, {"action": "create", "task_id": "A"}):
            assert (await call.fails("worktrees", **refused))["code"] == "not_authorized"
        assert (await call.fails("assign"))["code"] == "not_authorized"


@pytest.mark.anyio
async def test_an_agent_of_another_role_neither_sees_nor_may_call_it(agent: Any, careful: Any) -> None:
    async with agent("W", "builder") as call:
        assert {tool.name for tool in (await call.client.list_tools()).tools} == {"report", "route", "agents", "plan"}
        for action in ("merge", "queue", "cleanup"):
            error = await call.fails("worktrees", action=action, task_id="A")
            assert error["code"] == "not_authorized"
            assert "architect" in error["message"]
    assert careful.operations.calls == []


def test_a_run_says_what_waits_and_how_to_approve_it(careful: Any) -> None:
    enqueue(careful, "A")
    approve(careful, "A", "architect-1")
    _, said = careful.store.read(progress.told, 0, frozenset({"A"}), approvals=True)
    assert [line.partition("  ")[2] for line in said][-2:] == [
        "A: done; its merge waits for an approval: `crewyard worktrees approve A`",
        "A: its merge is approved by architect-1",
    ]
    enqueue(careful, "B")
    [line] = careful.store.read(progress.table, ["B"], NOW, approvals=True)
    assert (line.state, line.note) == ("merging", "waits for an approval: `crewyard worktrees approve B`")
    assert careful.store.read(progress.table, ["B"], NOW)[0].note == "queued"


# ------------------------------------------------------------------------------------------ a queue that stands still


def look(bench: Any, seconds: float, *, auto: bool = False, merging_since: str = NOW) -> standstill.Standstill | None:
    now = clock.plus(NOW, seconds)
    found: standstill.Standstill | None = bench.store.read(
        standstill.find, 3600.0, auto_approve=auto, merging_since=merging_since, now=now
    )
    bench.store.run(standstill.settle, found, now=now, actor="test")
    return found


def test_merges_that_wait_for_an_hour_are_told_once_and_hold_launches_until_the_queue_moves(careful: Any) -> None:
    careful.employ("project_manager")
    enqueue(careful, "A")
    assert look(careful, 3599) is None
    for seconds in (3600, 3700):
        found = look(careful, seconds)
        assert found is not None
        assert (found.task_ids, found.unapproved) == (["A"], 1)
    for box in ("lead", "project_manager"):
        [alert] = careful.alerts(box)
        assert alert["level"] == "high"
        assert ("approve=true" in alert.get("next", "")) == (box == "lead")
    row = careful.store.read(holds.in_force, "builder", clock.plus(NOW, 3700))
    assert (row["scope"], row["reason"]) == ("*", "merges_wait")
    approve(careful, "A", at=clock.plus(NOW, 3800))
    assert look(careful, 3800) is None
    assert careful.store.read(holds.in_force, "builder", clock.plus(NOW, 3800)) is None


def test_a_long_queue_that_moves_is_no_standstill(careful: Any) -> None:
    enqueue(careful, "A")
    enqueue(careful, "B")
    assert look(careful, 3500, auto=True) is None
    first = careful.row("merge_request", task_id="A")["merge_id"]
    careful.store.run(merges.claim, first, now=clock.plus(NOW, 3500), actor="test")
    assert look(careful, 9000, auto=True) is None, "it is at work"
    done = merges.Merged("c0ffee", 1, 1, 0)
    careful.store.run(merges.succeeded, first, done, now=clock.plus(NOW, 9000), actor="test")
    assert look(careful, 12_000, auto=True) is None
    found = look(careful, 12_600, auto=True)
    assert found is not None
    assert "the merger does not react" in str(found)


def test_a_merger_that_has_only_begun_is_not_late(careful: Any) -> None:
    enqueue(careful, "A")
    assert look(careful, 90_000, auto=True, merging_since=clock.plus(NOW, 89_990)) is None
    assert look(careful, 90_000, merging_since=clock.plus(NOW, 89_990)) is not None, "an approval is late all the same"


def test_why_tells_a_task_that_waits_for_its_agent_of_the_queue_that_stands_still(careful: Any) -> None:
    enqueue(careful, "A")
    look(careful, 4000)
    careful.add_tasks("B")
    careful.store.run(dispatches.open_or_join, ["B"], max_parallel=1, agent_type=None, now=NOW, actor="lead")
    bounds = why.Bounds("builder", {}, auto_approve=False)
    because = careful.store.read(why.explain, "B", now=clock.plus(NOW, 4000), bounds=bounds).because
    assert "no agent can start (merges_wait, since " in because
    assert "): merges into roadmap (A) have waited since" in because
    with pytest.raises(ResourceExhaustion, match="merges into roadmap"):
        careful.store.run(
            wishes.assign,
            wishes.Session("B", "builder", limit=None, everywhere=False),
            now=clock.plus(NOW, 4000),
            actor="lead",
        )
