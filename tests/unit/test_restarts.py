"""What becomes of tasks whose restart somebody asks for (R-116 to R-120)."""

from typing import Any

import pytest

from crewyard.server import agents, assignments, clock, dispatches, holds, merges, restarts, tasks
from crewyard.server.errors import (
    AgentNotFound,
    IllegalTransition,
    MaxRetriesExceeded,
    NoAvailableWork,
    NonRetryable,
)


def ask(bench: Any, agent_id: str, *, force: bool = False) -> restarts.Asked:
    asked: restarts.Asked = bench.store.run(
        restarts.of_agent, agent_id, force=force, grace_seconds=10.0, now=clock.now(), actor="lead"
    )
    return asked


def ask_all(bench: Any, agent_type: str | None = None, *, force: bool = False) -> list[restarts.Asked]:
    asked: list[restarts.Asked] = bench.store.run(
        restarts.of_failed, agent_type, force=force, max_parallel=2, now=clock.now(), actor="lead"
    )
    return asked


def stand(bench: Any, asked: restarts.Asked) -> restarts.Standing:
    standing: restarts.Standing = bench.store.read(restarts.standing, asked, now=clock.now())
    return standing


def failed_for_good(bench: Any, task_id: str, *, tries: int = 4) -> str:
    """The last of the agents that a task failed under, until it went to review."""
    for n in range(tries):
        last = str(bench.add_agent(task_id))
        bench.finish(last, "failed", code=7, said=f"words of attempt {n + 1}")
    return last


def whole(bench: Any) -> list[list[tuple[Any, ...]]]:
    tables = ("specs_task", "orchestrator_task", "agent_lifecycle", "agent_restart_log", "launch_hold", "event")
    return bench.store.read(  # type: ignore[no-any-return]
        lambda tx: [[tuple(row) for row in tx.all(f"SELECT * FROM {table}")] for table in tables]
    )


def test_a_live_agent_is_asked_to_end_and_its_task_goes_on_with_a_fresh_count(bench: Any) -> None:
    bench.add_tasks("A")
    bench.finish(bench.add_agent("A"), "failed", code=1)
    agent_id = bench.add_agent("A")
    asked = ask(bench, agent_id)
    row = bench.row("agent_lifecycle", agent_id=agent_id)
    assert (row["kill_outcome"], row["kill_code"], row["kill_grace_seconds"]) == ("restart", None, 10.0)
    assert stand(bench, asked).new_agent is None
    bench.finish(agent_id, "killed")
    work = bench.row("orchestrator_task")
    assert (work["status"], work["retry_count"], work["not_before"]) == ("assigned", 0, None)
    new = bench.add_agent("A")
    standing = stand(bench, asked)
    assert (standing.new_agent["agent_id"], standing.attempt) == (new, 3)  # type: ignore[index]
    assert bench.row("agent_restart_log", agent_id=agent_id)["new_agent_id"] == new


def test_a_task_that_waits_for_its_delay_is_due_now(bench: Any) -> None:
    bench.add_tasks("A")
    first = bench.add_agent("A")
    bench.finish(first, "failed", code=1)
    assert bench.row("orchestrator_task")["not_before"] > clock.now()
    asked = ask(bench, first)
    work = bench.row("orchestrator_task")
    assert (work["not_before"], work["retry_count"]) == (None, 0)
    assert "An earlier attempt" in work["next_prompt"], "what it ran into is still told"
    second = bench.add_agent("A")
    assert stand(bench, asked).new_agent["agent_id"] == second  # type: ignore[index]


def test_a_task_in_review_is_opened_again_by_force_only(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    work = bench.row("orchestrator_task")["orchestrator_task_id"]
    bench.store.run(assignments.note, work, timeout_seconds=9.0)
    bench.finish(agent_id, "failed", code=7)
    last = failed_for_good(bench, "A", tries=3)
    before = whole(bench)
    with pytest.raises(MaxRetriesExceeded) as refused:
        ask(bench, last)
    assert "force=true" in refused.value.hint
    assert whole(bench) == before, "a refused request has changed nothing"
    asked = ask(bench, last, force=True)
    old, new = works(bench)
    assert (old["status"], new["status"], new["retry_count"]) == ("failed", "assigned", 0)
    assert (new["agent_type"], new["metadata"]) == (old["agent_type"], old["metadata"]), "a longer time stays"
    assert bench.row("specs_task")["needs_review"] == 0
    started = bench.add_agent("A")
    assert stand(bench, asked).new_agent["agent_id"] == started  # type: ignore[index]
    assert bench.row("agent_restart_log", reason="restarted")["new_agent_id"] == started


@pytest.mark.parametrize("error", ["spawn_failed", "killed"])
def test_what_trying_again_does_not_mend_needs_force_too(bench: Any, error: str) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    if error == "killed":
        bench.store.run(
            agents.request_kill, agent_id, reason="x", outcome="fail", grace_seconds=1, now=clock.now(), actor="lead"
        )
        bench.finish(agent_id, "killed")
    else:
        bench.finish(agent_id, "failed", error=error)
    with pytest.raises(NonRetryable, match=error):
        ask(bench, agent_id)
    ask(bench, agent_id, force=True)
    assert bench.row("specs_task")["status"] == "assigned"


def test_who_takes_a_task_up_again_is_told_what_it_ended_with(bench: Any) -> None:
    bench.add_tasks("A")
    last = failed_for_good(bench, "A")
    ask(bench, last, force=True)
    prompt = bench.store.read(
        lambda tx: tx.value("SELECT next_prompt FROM orchestrator_task ORDER BY rowid DESC LIMIT 1")
    )
    assert "words of attempt 4" in prompt
    assert prompt.count("An earlier attempt") == 1


@pytest.mark.parametrize("is_over", [False, True])
def test_by_force_its_dispatch_has_it_again_unless_that_is_over(bench: Any, is_over: bool) -> None:
    bench.add_tasks("A")
    name = dispatch(bench, "A")
    bench.store.run(dispatches.claim, name, dispatches.Limits(1, {}, "builder"), now=clock.now(), actor="test")
    last = failed_for_good(bench, "A")
    if is_over:
        bench.store.run(dispatches.change, name, "completed", now=clock.now(), actor="test")
    ask(bench, last, force=True)
    assert [row["dispatch_id"] for row in works(bench)] == [name, None if is_over else name]


def dispatch(bench: Any, *task_ids: str, agent_type: str | None = None) -> str:
    row, _ = bench.store.run(
        dispatches.open_or_join, task_ids, max_parallel=1, agent_type=agent_type, now=clock.now(), actor="lead"
    )
    return str(row["dispatch_id"])


def works(bench: Any) -> list[Any]:
    rows: list[Any] = bench.store.read(lambda tx: tx.all("SELECT * FROM orchestrator_task ORDER BY rowid"))
    return rows


def test_what_is_done_is_not_started_again(bench: Any) -> None:
    bench.add_tasks("A", "B")
    done = bench.add_agent("A")
    bench.finish(done, "completed", code=0)
    with pytest.raises(IllegalTransition, match="waits for its check or its merge"):
        ask(bench, done, force=True)
    work = bench.row("orchestrator_task")["orchestrator_task_id"]
    bench.store.run(lambda tx: tx.run("UPDATE orchestrator_task SET branch_name = 'b'"))
    bench.store.run(
        lambda tx: tx.run("UPDATE orchestrator_task SET status = 'completed' WHERE orchestrator_task_id = ?", (work,))
    )
    bench.store.run(merges.enqueue, work, head="c0ffee", target="roadmap", approved_by=None, now=clock.now(), actor="x")
    with pytest.raises(IllegalTransition, match="waits for its check or its merge"):
        ask(bench, done)
    bench.store.run(
        lambda tx: tx.run("UPDATE orchestrator_task SET status = 'merged' WHERE orchestrator_task_id = ?", (work,))
    )
    bench.store.run(tasks.complete, "A", now=clock.now(), actor="test")
    with pytest.raises(IllegalTransition, match="on the integration branch") as refused:
        ask(bench, done, force=True)
    assert "plan(action='add')" in refused.value.hint


def test_the_predecessor_of_an_agent_at_work_is_not_started_again(bench: Any) -> None:
    bench.add_tasks("A")
    first = bench.add_agent("A")
    bench.finish(first, "failed", code=1)
    second = bench.add_agent("A")
    with pytest.raises(IllegalTransition, match=f"{second} works on task A") as refused:
        ask(bench, first)
    assert second in refused.value.hint


def test_an_agent_that_is_being_killed_is_not_restarted_behind_that_ones_back(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(
        agents.request_kill, agent_id, reason="enough", outcome="fail", grace_seconds=1, now=clock.now(), actor="lead"
    )
    with pytest.raises(IllegalTransition, match="enough"):
        ask(bench, agent_id)
    assert bench.row("agent_lifecycle")["kill_outcome"] == "fail"


@pytest.mark.parametrize(("status", "hint"), [("ready", "spawn"), ("cancelled", "new_status='ready'")])
def test_a_task_that_no_agent_has_is_begun_by_other_calls(bench: Any, status: str, hint: str) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(
        agents.request_kill, agent_id, reason="x", outcome="release", grace_seconds=1, now=clock.now(), actor="lead"
    )
    bench.finish(agent_id, "killed")
    if status == "cancelled":
        bench.store.run(tasks.update_status, "A", "cancelled", now=clock.now(), actor="lead")
    with pytest.raises(IllegalTransition) as refused:
        ask(bench, agent_id, force=True)
    assert hint in refused.value.hint


def test_unknown_and_blocked_ones_are_refused(bench: Any) -> None:
    with pytest.raises(AgentNotFound):
        ask(bench, "nobody")
    bench.add_tasks("A", "B")
    last = failed_for_good(bench, "B")
    bench.add_edge("A", "B")
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET status = 'failed', needs_review = 1 WHERE task_id = 'B'"))
    with pytest.raises(NoAvailableWork, match="waits for A"):
        ask(bench, last, force=True)


def test_a_hold_is_told_and_a_stop_is_lifted(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.finish(agent_id, "failed", code=1, said="Claude AI usage limit reached")
    until = bench.row("launch_hold")["until"]
    bench.store.run(holds.hold, "*", "stopped", "by hand", until=None, now=clock.now(), actor="lead")
    asked = ask(bench, agent_id)
    standing = stand(bench, asked)
    assert [row["reason"] for row in bench.store.read(holds.listed)] == ["quota"]
    assert "quota" in (standing.hindrance or "")
    assert standing.seconds == pytest.approx(clock.seconds_between(clock.now(), until), abs=5)


def test_all_that_wait_are_due_now_and_by_force_what_failed_as_well(bench: Any) -> None:
    bench.add_tasks("A", "B", "C", "D")
    waits, other = bench.add_agent("A"), bench.add_agent("B", agent_type="architect")
    for agent_id in (waits, other):
        bench.finish(agent_id, "failed", code=1)
    failed = failed_for_good(bench, "C")
    assert [each.task_id for each in ask_all(bench, "architect")] == ["B"]
    [asked] = ask_all(bench)
    assert (asked.agent_id, asked.task_id) == (waits, "A")
    assert asked.reason.startswith(waits)
    assert ask_all(bench) == [], "they are due already"
    assert bench.row("specs_task", task_id="C")["status"] == "failed"
    assert bench.store.read(restarts.types_of, None, force=True, now=clock.now()) == {"builder"}
    [asked] = ask_all(bench, force=True)
    assert (asked.agent_id, bench.row("specs_task", task_id="C")["status"]) == (failed, "ready")
    dispatch = bench.row("dispatch")
    assert (dispatch["status"], dispatch["max_parallel"]) == ("active", 2), "not all at once"
    new = bench.add_agent("C")
    assert stand(bench, asked).new_agent["agent_id"] == new  # type: ignore[index]
    assert bench.row("agent_restart_log", reason="restarted")["new_agent_id"] == new


def test_what_failed_within_an_active_dispatch_is_left_to_that(bench: Any) -> None:
    bench.add_tasks("A", "B")
    name = dispatch(bench, "A", "B")
    failed_for_good(bench, "A")
    assert [each.task_id for each in ask_all(bench, force=True)] == ["A"]
    assert bench.row("dispatch")["dispatch_id"] == name
    bench.store.run(dispatches.change, name, "paused", now=clock.now(), actor="lead")
    failed_for_good(bench, "A")
    ask_all(bench, force=True)
    assert bench.value("SELECT count(*) FROM dispatch WHERE status = 'active'") == 1, "a paused one would not do it"


def test_a_new_dispatch_keeps_the_type_of_agent_that_the_old_one_was_given(bench: Any) -> None:
    bench.add_tasks("A", "B")
    name = dispatch(bench, "A", agent_type="architect")
    bench.store.run(dispatches.claim, name, dispatches.Limits(1, {}, "builder"), now=clock.now(), actor="test")
    for task_id in "AB":
        failed_for_good(bench, task_id)
    bench.store.run(dispatches.change, name, "completed", now=clock.now(), actor="test")
    ask_all(bench, force=True)
    opened = bench.store.read(
        lambda tx: tx.all(
            "SELECT agent_type, group_concat(task_id) AS tasks FROM dispatch JOIN dispatch_task USING (dispatch_id) "
            "WHERE status = 'active' GROUP BY dispatch_id ORDER BY agent_type"
        )
    )
    assert [tuple(row) for row in opened] == [(None, "B"), ("architect", "A")]


def test_a_launch_that_is_only_slowed_down_is_waited_for(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.finish(agent_id, "failed", code=1)
    bench.store.run(holds.hold, "*", "cpu", "busy", until=clock.plus(clock.now(), 5), now=clock.now(), actor="test")
    asked = ask(bench, agent_id)
    assert stand(bench, asked).hindrance is None
    bench.store.run(holds.hold, "*", "disk", "full", until=clock.plus(clock.now(), 9), now=clock.now(), actor="test")
    assert "full" in (stand(bench, asked).hindrance or "")


def test_an_agent_that_finished_meanwhile_is_not_followed_by_another(bench: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    asked = ask(bench, agent_id)
    bench.finish(agent_id, "completed", code=0)
    assert "ended by itself first" in (stand(bench, asked).hindrance or "")


def test_a_paused_dispatch_is_named(bench: Any) -> None:
    bench.add_tasks("A")
    name = dispatch(bench, "A")
    bench.store.run(dispatches.claim, name, dispatches.Limits(1, {}, "builder"), now=clock.now(), actor="test")
    agent_id = bench.add_agent("A")
    bench.finish(agent_id, "failed", code=1)
    bench.store.run(dispatches.change, name, "paused", now=clock.now(), actor="lead")
    assert f"{name} is paused" in (stand(bench, ask(bench, agent_id)).hindrance or "")
