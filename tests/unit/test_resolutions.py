"""What somebody decides of a task whose merge conflicts: its states, and what is refused."""

import json
from typing import Any

import pytest

from crewyard.server import assignments, merges, resolutions
from crewyard.server.errors import IllegalTransition, MergeConflicts, StillInUse, TaskNotFound
from crewyard.server.settlements import Settlement

pytestmark = pytest.mark.anyio
NOW = "2026-01-01T00:00:00.000Z"


def work_of(bench: Any) -> str:
    work: str = bench.value("SELECT max(orchestrator_task_id) FROM orchestrator_task WHERE status <> 'failed'")
    return work


def queued(bench: Any) -> int:
    """Task A's proven work, in the merge queue."""
    bench.add_tasks("A")
    bench.end_agent(bench.add_agent("A"))
    work = work_of(bench)
    bench.store.run(assignments.placed, work, path="/w/A", branch="b-A")
    bench.store.run(assignments.proven, work, no_change=False, now=NOW, actor="test")
    row = bench.store.run(
        merges.enqueue, work, head="c0ffee", target="roadmap", approved_by=None, now=NOW, actor="test"
    )
    return int(row["merge_id"])


def conflicted(bench: Any, *, limit: int = 3) -> int:
    """Task A, whose merge conflicts in f.txt; with limit 0 it waits in review."""
    merge_id = queued(bench)
    bench.store.run(merges.claim, merge_id, now=NOW, actor="test")
    bench.store.run(
        merges.refused, merge_id, want="conflicted", code="merge_conflicts", message="It conflicts in f.txt.",
        files=["f.txt"], prompt="Both sides wanted something.", limit=limit, now=NOW, actor="test",
    )  # fmt: skip
    return merge_id


def resolve(bench: Any, strategy: str) -> Any:
    return bench.store.run(resolutions.resolve, "A", strategy, now=NOW, actor="lead")


@pytest.mark.parametrize("limit", [3, 0], ids=["waits for an agent", "in review"])
@pytest.mark.parametrize("strategy", ["ours", "theirs"])
def test_taking_a_side_puts_the_same_work_into_the_queue_with_that_word(bench: Any, strategy: str, limit: int) -> None:
    first = conflicted(bench, limit=limit)
    row = resolve(bench, strategy)
    assert row["merge_id"] > first
    assert (row["status"], row["strategy"], row["approved_by"]) == ("queued", strategy, "lead")
    assert (row["head_commit"], row["target_branch"], row["branch_name"]) == ("c0ffee", "roadmap", "b-A")
    assert bench.row("orchestrator_task", orchestrator_task_id=work_of(bench))["status"] == "completed"
    assert bench.row("specs_task")["needs_review"] == 0


@pytest.mark.parametrize("limit", [3, 0], ids=["waits for an agent", "in review"])
def test_an_agent_tries_again_with_a_fresh_count_and_knows_both_sides(bench: Any, limit: int) -> None:
    first = conflicted(bench, limit=limit)
    assert resolve(bench, "agent")["merge_id"] == first
    work = bench.row("orchestrator_task", orchestrator_task_id=work_of(bench))
    assert (work["status"], work["rework_count"], work["retry_count"]) == ("assigned", 1, 0)
    assert "Both sides wanted something." in work["next_prompt"]
    assert bench.row("specs_task")["status"] == "assigned"


def test_giving_up_leaves_the_task_to_review(bench: Any) -> None:
    conflicted(bench)
    for _ in range(2):
        resolve(bench, "abort")
        task = bench.row("specs_task")
        assert (task["status"], task["needs_review"], task["error_code"]) == ("failed", 1, "merge_conflicts")
        assert task["error_message"] == "lead gave up its merge into roadmap, which conflicts in f.txt."
    assert resolve(bench, "theirs")["status"] == "queued", "and may be gone on with later"


def test_a_task_that_has_no_conflict_is_told_what_it_is(bench: Any) -> None:
    with pytest.raises(TaskNotFound):
        resolve(bench, "agent")
    bench.add_tasks("A")
    with pytest.raises(IllegalTransition, match="Task A is ready and has no merge"):
        resolve(bench, "agent")


async def test_a_merge_that_waits_or_is_done_has_no_conflict(bench: Any) -> None:
    merge_id = queued(bench)
    with pytest.raises(IllegalTransition, match="in_progress and has a merge that is queued"):
        resolve(bench, "ours")
    bench.store.run(merges.claim, merge_id, now=NOW, actor="test")
    bench.store.run(merges.succeeded, merge_id, merges.Merged("c0ffee", 1, 1, 0), now=NOW, actor="test")
    with pytest.raises(IllegalTransition, match="completed and has a merge that is merged"):
        resolve(bench, "abort")


@pytest.mark.parametrize("strategy", ["agent", "ours", "theirs", "abort"])
def test_while_an_agent_works_on_it_nothing_is_decided(bench: Any, strategy: str) -> None:
    conflicted(bench)
    agent = bench.add_agent("A", token="again")
    with pytest.raises(StillInUse) as caught:
        resolve(bench, strategy)
    assert caught.value.hint is not None
    assert f"agents(action='kill', agent_id='{agent}')" in caught.value.hint
    bench.end_agent(agent)
    with pytest.raises(StillInUse, match="its work is being looked at"):
        resolve(bench, strategy)


async def test_the_tool_tells_what_comes_of_it(bench: Any, call: Any) -> None:
    done = await call("worktrees", action="resolve", task_id="A", strategy="ours")
    assert (done["merge_commit"], done["note"]) == ("c0ffee", "Conflicts settled: f: roadmap's side taken (1 hunk).")
    assert bench.operations.calls[-1] == ("resolve", {"task_id": "A", "strategy": "ours", "actor": "lead"})
    again = await call("worktrees", action="resolve", task_id="A")
    assert (again["status"], again["note"]) == ("success", "An agent tries again.")
    given_up = await call("worktrees", action="resolve", task_id="A", strategy="abort")
    assert "review" in given_up["note"]
    bench.operations.refuse = MergeConflicts("still", conflicted_files=["f"])
    error = await call.fails("worktrees", action="resolve", task_id="A", strategy="theirs")
    assert (error["code"], error["details"]) == ("merge_conflicts", {"conflicted_files": ["f"]})
    for wrong in ({"task_id": ""}, {"task_id": "A", "strategy": "mine"}):
        assert (await call.fails("worktrees", action="resolve", **wrong))["code"] == "invalid_input"


async def test_why_tells_of_the_decision_and_of_what_was_settled(bench: Any, call: Any) -> None:
    conflicted(bench, limit=0)
    assert "worktrees(action='resolve', task_id='A', strategy='agent')" in (await call("why", subject="A"))["next_call"]
    merge_id = resolve(bench, "ours")["merge_id"]
    assert "position 1 of the queue" in (await call("why", subject="A"))["because"]
    bench.store.run(merges.claim, merge_id, now=NOW, actor="test")
    bench.store.run(merges.note_settled, merge_id, [Settlement("f.txt", "ours", 2)])
    bench.store.run(merges.succeeded, merge_id, merges.Merged("c0ffee", 1, 1, 0), now=NOW, actor="test")
    because = (await call("why", subject=str(merge_id)))["because"]
    assert because.endswith("Conflicts settled: f.txt: roadmap's side taken (2 hunks).")
    assert json.loads(bench.row("merge_request", merge_id=merge_id)["settled"])[0]["how"] == "ours"
