"""Pairs of branches that would collide: who is told, how often, and where it is shown."""

import json
from typing import Any

import pytest

from crewyard.server import clock, collisions, progress, why, worktrees
from crewyard.server.collisions import Finding

NOW = "2026-01-01T00:00:00.000Z"
BOUNDS = why.Bounds("builder", {}, auto_approve=True)


def begin(bench: Any, *task_ids: str, agents: bool = True) -> list[str]:
    """Unfinished tasks with worktrees, in this order; returns their agents."""
    names = []
    for task_id in task_ids:
        bench.add_tasks(task_id)
        if agents:
            names.append(bench.add_agent(task_id))
        made = bench.store.run(
            worktrees.plan, task_id, path=f"/w/{task_id}", branch=f"b-{task_id}", base_branch="roadmap",
            base_commit="c0ffee", now=NOW, actor="test",
        )  # fmt: skip
        bench.store.run(worktrees.change, made.worktree_id, "active", now=NOW, actor="test")
    return names


def find(bench: Any, earlier: str, later: str, *files: str, heads: tuple[str, str] = ("1", "2")) -> None:
    found = [Finding(earlier, later, heads, files)]
    bench.store.run(collisions.take_down, found, [], now=clock.now(), actor="test")


def mail(bench: Any, box: str) -> list[dict[str, Any]]:
    sql = "SELECT content FROM agent_message WHERE to_agent = ? AND message_type = 'conflict_warning' ORDER BY id"
    return [json.loads(row[0]) for row in bench.store.read(lambda tx: tx.all(sql, (box,)))]


def test_the_later_agent_is_told_once_of_the_same_files_and_again_of_others(bench: Any) -> None:
    first, second = begin(bench, "A", "B")
    find(bench, "A", "B", "f", "g")
    find(bench, "A", "B", "f", heads=("1", "3"))
    [told] = mail(bench, second)
    assert (told["files"], told["other_task_id"], told["other_agent_id"]) == (["f", "g"], "A", first)
    assert "Task A (Task A)" in told["message"]
    find(bench, "A", "B", "f", "h", heads=("1", "4"))
    assert [each["files"] for each in mail(bench, second)] == [["f", "g"], ["f", "h"]]
    assert mail(bench, first) == []


def test_an_agent_that_starts_later_is_told_then(bench: Any) -> None:
    begin(bench, "A", "B", agents=False)
    bench.add_agent("A")
    find(bench, "A", "B", "f")
    agent = bench.add_agent("B")
    assert bench.store.read(collisions.has_untold)
    bench.store.run(collisions.take_down, [], [], now=NOW, actor="test")
    assert len(mail(bench, agent)) == 1
    assert not bench.store.read(collisions.has_untold)


def test_why_tells_both_of_the_other_behind_the_main_cause(bench: Any) -> None:
    begin(bench, "A", "B", "C")
    find(bench, "A", "B", "f")
    for one, other in (("A", "B"), ("B", "A")):
        because = bench.store.read(why.explain, one, now=NOW, bounds=BOUNDS).because
        assert because.startswith("Agent builder-")
        assert because.endswith(f"Its work would conflict with that of task {other} in f.")
    assert "conflict" not in bench.store.read(why.explain, "C", now=NOW, bounds=BOUNDS).because
    find(bench, "A", "C", "g")
    assert (
        "with 1 more (worktrees(action='conflicts'))"
        in bench.store.read(why.explain, "A", now=NOW, bounds=BOUNDS).because
    )


def test_a_collision_and_its_end_are_events_and_a_line_of_the_run(bench: Any) -> None:
    begin(bench, "A", "B")
    find(bench, "A", "B", "f")
    find(bench, "A", "B", heads=("1", "3"))
    bench.store.run(collisions.take_down, [], [("A", "B")], now=NOW, actor="test")
    kinds = bench.store.read(
        lambda tx: [row[0] for row in tx.all("SELECT kind FROM event WHERE subject_type = 'collision'")]
    )
    assert kinds == ["collision_found", "collision_over"]
    _, said = bench.store.read(progress.told, 0, frozenset({"B"}))
    assert [line.partition("  ")[2] for line in said if "conflict" in line] == ["B: would conflict with A in f"]


@pytest.mark.anyio
async def test_conflicts_are_listed_in_pages_and_long_lists_are_cut(bench: Any, call: Any) -> None:
    names = [f"T{n:02d}" for n in range(14)]
    begin(bench, *names)
    pairs = [(a, b) for n, a in enumerate(names) for b in names[n + 1 :]]
    for earlier, later in pairs:
        find(bench, earlier, later, *(f"src/a/rather/long/path/of/{earlier}/{later}/file-{n}.py" for n in range(40)))
    page = await call("worktrees", action="conflicts")
    shown = page["conflicts"]
    assert page["total"] == len(pairs) == 91
    assert set(shown[0]) == {"task_a", "task_b", "files"}
    assert shown[0]["files"][-1] == "… and 20 more"
    while "next_cursor" in page:
        page = await call("worktrees", action="conflicts", cursor=page["next_cursor"])
        shown += page["conflicts"]
    assert [(each["task_a"], each["task_b"]) for each in shown] == pairs
