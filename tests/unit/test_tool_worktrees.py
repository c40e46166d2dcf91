"""``worktrees``: list, create, merge, cleanup, queue. Git itself is tested with ``operations``."""

from typing import Any

import pytest

from crewyard.server import assignments, merges, worktrees
from crewyard.server.errors import MergeConflicts, NotMerged

pytestmark = pytest.mark.anyio
NOW = "2026-01-01T00:00:00.000Z"


def add_worktree(bench: Any, task_id: str) -> None:
    bench.add_tasks(task_id)
    bench.store.run(
        worktrees.plan,
        task_id,
        path=f"/w/{task_id}",
        branch=f"b-{task_id}",
        base_branch="roadmap",
        base_commit="c0ffee",
        now=NOW,
        actor="test",
    )


def enqueue(bench: Any, task_id: str) -> None:
    bench.end_agent(bench.add_agent(task_id))
    work = bench.value("SELECT orchestrator_task_id FROM orchestrator_task WHERE task_id = ?", task_id)
    bench.store.run(assignments.placed, work, path=f"/w/{task_id}", branch=f"b-{task_id}")
    bench.store.run(assignments.proven, work, no_change=False, now=NOW, actor="test")
    bench.store.run(merges.enqueue, work, head="c0ffee", target="roadmap", approved_by=None, now=NOW, actor="test")


async def test_r191_r193_live_worktrees_are_listed_in_pages(bench: Any, call: Any) -> None:
    for n in range(100):
        add_worktree(bench, f"T{n:03d}")
    first = await call("worktrees", limit=60)
    assert first["total"] == 100
    second = await call("worktrees", limit=60, cursor=first["next_cursor"])
    shown = [*first["active_worktrees"], *second["active_worktrees"]]
    while second.get("next_cursor"):
        second = await call("worktrees", limit=60, cursor=second["next_cursor"])
        shown += second["active_worktrees"]
    assert [each["task_id"] for each in shown] == [f"T{n:03d}" for n in range(100)]
    assert set(shown[0]) == {"task_id", "worktree_path", "branch_name", "status", "base_branch"}


async def test_r193_r194_create_tells_path_and_branch(bench: Any, call: Any) -> None:
    add_worktree(bench, "B")
    done = await call("worktrees", action="create", task_id="A", base_branch="main")
    assert (done["worktree_path"], done["branch_name"]) == ("/w/A", "branch-A")
    assert [each["task_id"] for each in done["active_worktrees"]] == ["B"]
    assert bench.operations.calls == [("create_worktree", {"task_id": "A", "base_branch": "main", "actor": "lead"})]


async def test_merge_tells_the_commit_or_the_place_in_the_queue(bench: Any, call: Any) -> None:
    done = await call("worktrees", action="merge", task_id="A", approve=True)
    assert (done["merge_commit"], done["files_changed"], done["insertions"], done["deletions"]) == ("c0ffee", 2, 3, 4)
    assert bench.operations.calls[-1][1]["approved_by"] == "lead"
    bench.operations.merged = False
    waits = await call("worktrees", action="merge", task_id="A")
    assert (waits["status"], waits["position"]) == ("partial", 2)
    assert bench.operations.calls[-1][1]["approved_by"] is None
    bench.operations.refuse = MergeConflicts("both change a", conflicted_files=["a"])
    error = await call.fails("worktrees", action="merge", task_id="A")
    assert (error["code"], error["details"]) == ("merge_conflicts", {"conflicted_files": ["a"]})


async def test_r192_r194_cleanup_tells_what_was_freed_and_kept(bench: Any, call: Any) -> None:
    done = await call("worktrees", action="cleanup", all=True)
    assert (done["cleaned_up"], done["disk_space_freed_mb"]) == (1, 1.5)
    assert done["salvage_refs"] == ["refs/crewyard/salvage/A/1"]
    assert bench.operations.calls[-1][1] == {"task_id": None, "force": False, "dry_run": False, "actor": "lead"}
    bench.operations.refuse = NotMerged("work in it")
    assert (await call.fails("worktrees", action="cleanup", task_id="A"))["code"] == "not_merged"


async def test_the_queue_is_in_order(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    enqueue(bench, "B")
    enqueue(bench, "A")
    queue = await call("worktrees", action="queue")
    assert [(each["task_id"], each["position"]) for each in queue["merge_queue"]] == [("B", 1), ("A", 2)]
    assert (queue["next_to_merge"], queue["total"]) == ("B", 2)
    rest = await call("worktrees", action="queue", limit=1)
    assert len((await call("worktrees", action="queue", cursor=rest["next_cursor"]))["merge_queue"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "create"},
        {"action": "merge"},
        {"action": "cleanup"},
        {"action": "cleanup", "task_id": "A", "all": True},
        {"cursor": "x"},
        {"action": "queue", "cursor": "-1"},
        {"action": "prune"},
        {"task": "A"},
        {"action": "cleanup", "all": "perhaps"},
    ],
)
@pytest.mark.parametrize("call", ["auto"], indirect=True)  # an error is made before the eras differ
async def test_errors(bench: Any, call: Any, arguments: Any) -> None:
    assert (await call.fails("worktrees", **arguments))["code"] == "invalid_input"
    assert bench.operations.calls == []
