"""What the lead and the agents are told by the system itself, in the transaction that it happens in."""

import json
from functools import partial
from typing import Any

import pytest

from crewyard.server import assignments, attempts, clock, merges, messages, notices, recipients, tasks
from crewyard.server.merges import Merged
from crewyard.server.store import Row, Store, Transaction

NOW = clock.now()  # what was told long ago would have expired for a tool that is called today


def mail(bench: Any, box: str, kind: str, status: str = "pending") -> list[dict[str, Any]]:
    sql = (
        "SELECT content FROM agent_message WHERE to_agent = ? AND message_type = ? AND status = ? "
        "AND from_agent = 'crewyard' ORDER BY id"
    )
    return [json.loads(row["content"]) for row in bench.store.read(lambda tx: tx.all(sql, (box, kind, status)))]


def work_of(bench: Any, task_id: str) -> Row:
    row: Row = bench.store.read(assignments.of_task, task_id)
    return row


def finish(bench: Any, *task_ids: str) -> None:
    """The agents of these tasks end, their work is proven and merged, all of it in one batch."""
    merge_ids = []
    for number, task_id in enumerate(task_ids):
        work = work_of(bench, task_id)
        bench.end_agent(work["assigned_agent"])
        bench.store.run(_prove, work["orchestrator_task_id"])
        merge_ids.append(bench.row("merge_request", task_id=task_id)["merge_id"])
        if number == 0:
            bench.store.run(merges.claim, merge_ids[0], now=NOW, actor="test")
    results = [(merge_id, Merged(f"c{merge_id}", 2, 3, 4)) for merge_id in merge_ids]
    bench.store.run(merges.all_succeeded, results, now=NOW, actor="test")


def _prove(tx: Transaction, assignment_id: str) -> None:
    assignments.placed(tx, assignment_id, path="/w", branch="roadmap-implementation_task-A")
    assignments.proven(tx, assignment_id, no_change=False, now=NOW, actor="test")
    notices.proven(tx, assignments.get(tx, assignment_id), now=NOW)
    merges.enqueue(tx, assignment_id, head="h", target="roadmap", approved_by=None, now=NOW, actor="test")


def test_r175_r182_an_agent_that_is_launched_is_told_its_task_and_what_that_builds_on(bench: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    bench.add_agent("A")
    finish(bench, "A")
    agent = bench.row("agent_lifecycle", agent_id=bench.add_agent("B"))
    bench.store.run(assignments.placed, agent["orchestrator_task_id"], path="/w/B", branch="the-branch")
    bench.store.run(notices.assigned, agent, now=NOW)
    [told] = mail(bench, agent["agent_id"], "task_assignment")
    assert told.pop("next")
    assert told == {
        "task_id": "B",
        "title": "Task B",
        "branch": "the-branch",
        "worktree": agent["workspace"],
        "attempt": 1,
        "builds_on": [{"task_id": "A", "title": "Task A"}],
    }


def test_the_lead_is_told_in_one_message_what_a_task_has_made_ready(bench: Any) -> None:
    bench.add_tasks("A", "B", "C", "D", "E")
    for blocking, dependent in (("A", "B"), ("A", "C"), ("A", "D"), ("E", "D")):
        bench.add_edge(blocking, dependent)
    bench.add_agent("A")
    finish(bench, "A")
    [told] = mail(bench, "lead", "dependency_unblocked")
    assert (told["task_id"], told["ready"], told["ready_count"]) == ("A", ["B", "C"], 2)


def test_a_task_that_nobody_waited_for_unblocks_nothing(bench: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    finish(bench, "A")
    assert mail(bench, "lead", "dependency_unblocked") == []


def test_who_works_ahead_of_a_dependency_is_told_when_it_is_there(bench: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_agent("A")
    ahead = bench.add_agent("B")
    bench.store.run(
        lambda tx: tx.run(
            "INSERT INTO specs_task_dependency (blocking_task_id, dependent_task_id, dependency_type, created_at) "
            "VALUES ('A', 'B', 'soft', ?)",
            (NOW,),
        )
    )
    finish(bench, "A")
    [told] = mail(bench, ahead, "dependency_unblocked")
    assert (told["task_id"], told["ready"]) == ("A", ["B"])


def test_who_completes_a_task_by_hand_is_not_told_of_it_but_agents_ahead_are(bench: Any) -> None:
    bench.add_tasks("A", "B", "C")
    bench.add_edge("A", "C")
    ahead = bench.add_agent("B")
    bench.add_edge("A", "B")
    bench.store.run(tasks.update_status, "A", "completed", now=NOW, actor=recipients.LEAD)
    assert mail(bench, "lead", "dependency_unblocked") == []
    assert len(mail(bench, ahead, "dependency_unblocked")) == 1


@pytest.mark.parametrize("no_change", [False, True])
def test_the_lead_is_told_when_the_evidence_holds(bench: Any, no_change: bool) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.end_agent(agent_id)
    work = work_of(bench, "A")["orchestrator_task_id"]
    bench.store.run(assignments.proven, work, no_change=no_change, now=NOW, actor="test")
    bench.store.run(lambda tx: notices.proven(tx, assignments.get(tx, work), now=NOW))
    [told] = mail(bench, "lead", "task_complete")
    assert (told["task_id"], told["agent_id"], told["no_change"]) == ("A", agent_id, no_change)


def test_a_merge_is_told_to_the_lead_and_to_who_works_on(bench: Any) -> None:
    bench.add_tasks("A", "B", "C")
    done, live, gone = (bench.add_agent(task) for task in "ABC")
    bench.end_agent(gone, "killed")
    finish(bench, "A")
    for box in ("lead", live):
        [told] = mail(bench, box, "merged")
        assert (told["target"], told["commit"], told["merges"]) == ("roadmap", "c1", 1)
        assert told["tasks"] == [{"task_id": "A", "title": "Task A", "commit": "c1", "files_changed": 2}]
    assert "git merge roadmap" in told["next"]
    assert mail(bench, done, "merged") == mail(bench, gone, "merged") == []


def test_merges_that_nobody_has_read_of_are_told_together(bench: Any) -> None:
    names = [f"T{number:02}" for number in range(notices.TASKS_NAMED + 3)]
    bench.add_tasks(*names, "last")
    live = bench.add_agent("last")
    for name in names:
        bench.add_agent(name)
    finish(bench, *names[:2])
    for name in names[2:]:
        finish(bench, name)
    [told] = mail(bench, live, "merged")
    assert told["merges"] == len(names)
    assert [task["task_id"] for task in told["tasks"]] == names[3:]


def test_a_merge_after_the_earlier_ones_were_read_is_told_by_itself(bench: Any) -> None:
    bench.add_tasks("A", "B", "C")
    live = bench.add_agent("C")
    bench.add_agent("A")
    bench.add_agent("B")
    finish(bench, "A")
    claim = partial(messages.claim, limit=10, lease_seconds=0.001)
    bench.store.run(claim, [live], reader=live, now=NOW)
    finish(bench, "B")
    assert [told["merges"] for told in mail(bench, live, "merged")] == [1]
    assert [told["merges"] for told in mail(bench, live, "merged", "delivered")] == [1]


def test_an_attempt_that_failed_is_told_with_what_comes_next(bench: Any) -> None:
    bench.add_tasks("A")
    bench.finish(bench.add_agent("A"), "failed", code=3, message="It ended with exit code 3.")
    [told] = mail(bench, "lead", "error_report")
    assert (told["task_id"], told["code"], told["next"]) == (
        "A",
        "agent_failed",
        "Attempt 2 starts in 2 s, in the same worktree.",
    )
    assert "exit code 3" in told["message"]


def test_what_goes_to_review_is_told_as_an_alert_and_not_twice(bench: Any) -> None:
    bench.add_tasks("A")
    for attempt in range(4):
        agent_id = bench.add_agent("A", at=f"2026-01-01T00:0{attempt}:00.000Z")
        bench.finish(agent_id, "failed", code=3, at=f"2026-01-01T00:0{attempt}:30.000Z")
    assert bench.row("specs_task")["needs_review"] == 1
    assert len(mail(bench, "lead", "error_report")) == 3
    assert len(bench.alerts("lead")) == 1


def test_work_that_conflicts_is_told_with_how_often_it_may_come_again(bench: Any) -> None:
    bench.add_tasks("A")
    bench.end_agent(bench.add_agent("A"))
    work = work_of(bench, "A")["orchestrator_task_id"]
    bench.store.run(_prove, work)
    bench.store.run(
        attempts.send_back, work, code="merge_conflicts", message="f", prompt="", limit=3, now=NOW, actor="test"
    )
    [told] = mail(bench, "lead", "error_report")
    assert (told["code"], told["next"]) == ("merge_conflicts", "It goes back to an agent, 1 of at most 3 times.")


def test_news_of_an_ended_agent_are_settled_and_other_mail_is_its_successors(bench: Any) -> None:
    bench.add_tasks("A", "B")
    first, other = bench.add_agent("A"), bench.add_agent("B")
    bench.store.run(notices.assigned, bench.row("agent_lifecycle", agent_id=first), now=NOW)
    finish(bench, "B")
    draft = messages.Draft(first, "question", "who?")
    bench.store.run(messages.send, draft, sender=other, agent_types=[], max_queue=10, now=clock.now())
    bench.finish(first, "failed", code=1)
    second = bench.add_agent("A")
    boxes = bench.store.read(recipients.mailboxes, second)
    rows = bench.store.run(messages.claim, boxes, reader=second, limit=10, lease_seconds=60, now=clock.now())
    assert [row["message_type"] for row in rows] == ["question"]
    kinds = bench.store.read(
        lambda tx: tx.all("SELECT message_type FROM agent_message WHERE status = 'expired' ORDER BY id")
    )
    assert [row["message_type"] for row in kinds] == ["task_assignment", "merged"]


def test_notices_are_short_whatever_titles_and_plans_are_like(bench: Any) -> None:
    many = [f"N{number:03}" for number in range(200)]
    bench.add_tasks("A", *many, title="x" * 10_000)
    for name in many:
        bench.add_edge("A", name)
    bench.add_agent("A")
    finish(bench, "A")
    [told] = mail(bench, "lead", "dependency_unblocked")
    assert (len(told["ready"]), told["ready_count"]) == (notices.TASKS_NAMED, 200)
    longest = bench.value("SELECT max(length(content)) FROM agent_message")
    assert longest < 2_000


def test_no_full_queue_keeps_a_notice_out_and_no_notice_fills_it(bench: Any) -> None:
    bench.add_tasks("A", "B")
    agent_id = bench.add_agent("A")
    send = partial(messages.send, sender=agent_id, agent_types=["builder"], max_queue=1, now=NOW)
    bench.store.run(send, messages.Draft("lead", "question", "?"))
    finish(bench, "A")
    assert len(mail(bench, "lead", "merged")) == 1
    bench.store.run(lambda tx: tx.run("DELETE FROM agent_message WHERE from_agent <> 'crewyard'"))
    bench.store.run(send, messages.Draft("lead", "question", "?"))


@pytest.mark.anyio
async def test_a_refusal_tells_of_unread_mail_as_well(bench: Any, call: Any, worker: Any) -> None:
    bench.add_tasks("A", "B")
    assert "unread" not in await call.fails("plan", action="nonsense")
    bench.add_agent("A")
    finish(bench, "A")
    assert (await call.fails("plan", action="nonsense"))["unread"] == 2  # complete, merged
    async with worker("B") as agent:
        agent_id = bench.row("agent_lifecycle", task_id="B")["agent_id"]
        assert "unread" not in await agent("report", summary="so far")
        await call("route", target_agent=agent_id, content="hello")
        assert (await agent("report", summary="so far"))["unread"] == 1
        for tool, arguments in (("report", {"action": "blocked"}), ("worktrees", {}), ("nonsense", {})):
            assert (await agent.fails(tool, **arguments))["unread"] == 1


def test_a_notice_is_part_of_the_change_that_it_tells_of(store: Store, bench: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")

    def cut_off(tx: Transaction) -> None:
        work = assignments.of_task(tx, "A")
        assert work is not None
        attempts.wait(tx, work["orchestrator_task_id"], code="x", message="x", until=None, now=NOW, actor="test")
        assignments.give_up(
            tx, work["orchestrator_task_id"], code="x", message="x", review=False, now=NOW, actor="test"
        )
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.run(cut_off)
    assert mail(bench, "lead", "error_report") == []
