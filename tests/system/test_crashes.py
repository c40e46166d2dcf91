"""Whatever is killed, nothing is lost, doubled or left behind (design 1, C-35, L-16, L-18)."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from yards import wait_until

from crewyard.server import clock, lease, merger, merges, merging, process, supervisor, trials
from crewyard.server.crew import Crew

Script = Callable[..., str]


def execute(yard, sql: str) -> None:
    with closing(sqlite3.connect(yard.repo / "data/orchestrator.db")) as connection, connection:
        connection.execute(sql)


def agent_processes(yard) -> list[int]:
    rows = yard.rows("SELECT pid, pid_start_time, boot_id FROM agent_lifecycle WHERE status = 'running'")
    return [row["pid"] for row in rows if process.is_alive(process.Identity(*row))]


def test_an_interrupted_run_ends_its_agents_keeps_their_work_and_goes_on_later(yard, script: Script) -> None:
    plan = yard.plan(
        {"task_id": "A", "description": script("1: write half.txt x", "1: sleep 60", "beat")},
        {"task_id": "B", "depends_on": ["A"]},
    )
    running = yard.start(plan)
    running.until("A: scripted")
    worktree = yard.repo / ".worktrees/implementation_task-A"
    while not (worktree / "half.txt").exists():
        os.sched_yield()
    running.interrupt()
    outcome = running.finish()
    assert (outcome.code, outcome.result["status"]) == (130, "interrupted")
    assert yard.processes() == []
    assert yard.git(yard.repo, "show", "roadmap-implementation_task-A:half.txt") == "x"
    assert yard.rows("SELECT status FROM specs_task WHERE task_id = 'A'")[0]["status"] == "ready"
    again = yard.run(plan)
    assert again.code == 0, again.err
    assert yard.at_roadmap("half.txt") == "x"
    assert again.task("A")["attempts"] == 2


def test_a_second_interrupt_does_not_wait_for_the_grace(yard, script: Script) -> None:
    yard.configure("grace_period_seconds = 600\n")
    running = yard.start(yard.plan({"task_id": "A", "description": script("say ready", "hang")}))
    running.until("A: scripted")
    output = Path(yard.rows("SELECT run_dir FROM agent_lifecycle")[0]["run_dir"], "output.log")
    while "hang" not in (output.read_text() if output.exists() else ""):
        os.sched_yield()
    running.interrupt()
    while not yard.rows("SELECT 1 FROM agent_lifecycle WHERE kill_requested_at IS NOT NULL"):
        os.sched_yield()
    running.interrupt()
    assert running.finish().code == 130
    assert yard.processes() == []


def test_a_third_interrupt_ends_a_run_whose_agents_end_cannot_be_recorded(yard, script: Script) -> None:
    plan = yard.plan({"task_id": "A", "description": script("say ready", "1: hang", "write done x")})
    running = yard.start(plan)
    running.until("A: scripted")
    output = Path(yard.rows("SELECT run_dir FROM agent_lifecycle")[0]["run_dir"], "output.log")
    wait_until(lambda: output.exists() and "hang" in output.read_text())
    execute(
        yard,
        "CREATE TRIGGER broken BEFORE UPDATE OF completed_at ON agent_lifecycle "
        "BEGIN SELECT RAISE(ABORT, 'broken'); END",
    )
    running.interrupt()
    wait_until(lambda: yard.rows("SELECT 1 FROM agent_lifecycle WHERE kill_requested_at IS NOT NULL"))
    running.interrupt()
    wait_until(lambda: agent_processes(yard) == [])
    running.interrupt()
    ended = running.finish()
    assert ended.code == 130
    assert "whoever goes on makes good" in ended.err
    execute(yard, "DROP TRIGGER broken")
    again = yard.run(plan)
    assert (again.code, again.task("A")["status"]) == (0, "merged"), again.err


def test_agents_outlive_a_killed_run_and_the_next_one_goes_on_with_them(yard) -> None:
    plan = yard.gated_plan()
    first = yard.start(plan)
    first.until("A: waiter")
    first.process.kill()
    first.process.wait()
    assert len(agent_processes(yard)) == 1, "the agent works on"
    yard.open_gate()
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert [task["attempts"] for task in outcome.result["tasks"]] == [1, 1], "nothing was started twice"
    assert "Going on with dispatch" in outcome.err


def test_what_ended_while_nobody_supervised_is_known_afterwards(yard, script: Script) -> None:
    plan = yard.plan({"task_id": "A", "description": script("1: sleep 0.3", "1: fail 5", "write a.txt x")})
    first = yard.start(plan)
    first.until("A: scripted")
    row = yard.rows("SELECT * FROM agent_lifecycle")[0]
    first.process.kill()
    first.process.wait()
    runner = process.Identity(row["runner_pid"], row["runner_start_time"], row["boot_id"])
    assert process.wait_until_gone(runner, 20)
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    ended = yard.rows("SELECT * FROM agent_lifecycle ORDER BY attempt")[0]
    assert (ended["status"], ended["exit_code"]) == ("failed", 5)


def test_an_agent_whose_runner_is_killed_is_lost_ended_and_tried_again(yard, script: Script) -> None:
    running = yard.start(yard.plan({"task_id": "A", "description": script("1: sleep 600", "write a.txt x")}))
    running.until("A: scripted")
    row = yard.rows("SELECT * FROM agent_lifecycle")[0]
    os.kill(row["runner_pid"], signal.SIGKILL)
    running.until("was lost")
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert not process.is_alive(process.Identity(row["pid"], row["pid_start_time"], row["boot_id"]))
    states = [row["status"] for row in yard.rows("SELECT status FROM agent_lifecycle ORDER BY attempt")]
    assert states == ["lost", "completed"]


def two_on_one_plan(yard) -> tuple:
    """Two runs of one plan, the second joined to the first, with A's agent at the gate."""
    plan = yard.gated_plan()
    first = yard.start(plan)
    first.until("A: waiter")
    second = yard.start(plan)
    second.until("Going on with dispatch")
    return first, second


def test_a_second_run_of_the_same_plan_joins_the_first(yard) -> None:
    first, second = two_on_one_plan(yard)
    yard.open_gate()
    outcomes = [first.finish(), second.finish()]
    assert [outcome.code for outcome in outcomes] == [0, 0]
    assert outcomes[0].result["dispatch_id"] == outcomes[1].result["dispatch_id"]
    assert [task["attempts"] for task in outcomes[1].result["tasks"]] == [1, 1]


def test_a_run_that_is_killed_is_followed_by_the_one_that_stands_by(yard) -> None:
    first, second = two_on_one_plan(yard)
    first.process.kill()
    first.process.wait()
    yard.open_gate()
    outcome = second.finish()
    assert outcome.code == 0, outcome.err
    assert [task["attempts"] for task in outcome.result["tasks"]] == [1, 1]


def test_interrupting_one_of_two_runs_leaves_the_agents_to_the_other(yard) -> None:
    first, second = two_on_one_plan(yard)
    first.interrupt()
    assert first.finish().code == 130
    assert len(agent_processes(yard)) == 1
    yard.open_gate()
    outcome = second.finish()
    assert outcome.code == 0, outcome.err
    assert [task["attempts"] for task in outcome.result["tasks"]] == [1, 1]


def test_two_runs_with_different_plans_work_side_by_side(yard, script: Script) -> None:
    one = yard.plan(
        *({"task_id": f"P{n}"} for n in range(4)),
        {"task_id": "slow", "description": script("sleep 0.4", "write s.txt x")},
        name="one.json",
    )
    two = yard.plan(*({"task_id": f"Q{n}"} for n in range(4)), name="two.json")
    runs = [yard.start(one), yard.start(two)]
    outcomes = [running.finish() for running in runs]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[0].err + outcomes[1].err
    assert [outcome.result["totals"]["merged"] for outcome in outcomes] == [5, 4]
    assert (yard.worktrees(), yard.refs()) == (1, ["refs/heads/main", "refs/heads/roadmap"])


# ------------------------------------------------------------------------------------------ one step at a time


@pytest.mark.parametrize("moved", [False, True])
def test_a_merge_that_was_cut_off_is_settled_by_what_git_holds(crew: Crew, yard, proven_task, moved: bool) -> None:
    merge_id = proven_task("A")
    row = crew.write(merges.claim, merge_id, now=clock.now(), actor="test")
    tip = crew.repository.require_tip("roadmap")
    trial = trials.attempt(crew.repository, tip, row["head_commit"], [])
    candidate = merging.commit(crew.repository, trial.tree, (tip, row["head_commit"]), "Merge")
    crew.write(merges.propose, {merge_id: (row["head_commit"], candidate)})
    if moved:
        merging.move_branch(crew.repository, "roadmap", candidate, tip, "test")
    merger.work_off(crew, "roadmap")
    done = crew.store.read(merges.get, merge_id)
    assert done["status"] == "merged"
    assert yard.git(yard.repo, "rev-parse", "roadmap") == done["merge_commit"]
    assert yard.git(yard.repo, "rev-list", "--count", "--merges", "roadmap") == "1", "merged once, not twice"
    assert (done["merge_commit"] == candidate) is moved
    assert yard.rows("SELECT status FROM specs_task")[0]["status"] == "completed"


def test_only_one_merge_of_a_branch_is_checked_at_a_time(crew: Crew, yard, proven_task) -> None:
    first, second = proven_task("A"), proven_task("B")
    crew.write(merges.claim, first, now=clock.now(), actor="test")
    with pytest.raises(sqlite3.IntegrityError):
        crew.write(merges.claim, second, now=clock.now(), actor="test")
    merger.work_off(crew, "roadmap")
    assert crew.store.read(merges.get, first)["status"] == "merged"
    assert crew.store.read(merges.get, second)["status"] == "merged"


def test_a_merge_whose_target_moved_meanwhile_is_done_again_on_the_new_tip(crew: Crew, yard, proven_task) -> None:
    proven_task("A")
    tip = crew.repository.require_tip("roadmap")
    tree = yard.git(yard.repo, "rev-parse", "roadmap^{tree}")
    moved = yard.git(yard.repo, "commit-tree", tree, "-p", tip, "-m", "Someone else's")
    yard.git(yard.repo, "update-ref", "refs/heads/roadmap", moved)
    with pytest.raises(merging.TargetMoved):
        merging.move_branch(crew.repository, "roadmap", moved, "0" * 39 + "1", "test")
    merger.work_off(crew, "roadmap")
    assert yard.git(yard.repo, "rev-parse", "roadmap^1") == moved


def test_a_supervisor_whose_term_is_over_writes_nothing(crew: Crew, yard, proven_task) -> None:
    proven_task("A")
    old_term = crew.term
    other = lease.Holder("other", 1, "1", "other-boot")
    assert (
        crew.store.run(lease.acquire, other, now=clock.now(), uptime=clock.uptime(), dead_term=old_term) == old_term + 1
    )
    with pytest.raises(lease.LeaseLost):
        merger.work_off(crew, "roadmap")
    assert yard.git(yard.repo, "rev-parse", "roadmap") == yard.git(yard.repo, "rev-parse", "main")
    assert yard.rows("SELECT status FROM merge_request")[0]["status"] == "queued"


def test_what_a_hook_started_and_left_does_not_keep_the_next_supervisor_out(
    crew: Crew, yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a git of the dead holder's started inherits its mark, daemons that stay included."""
    monkeypatch.setattr(supervisor, "ORPHAN_SECONDS", 0.2)
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = lease.Holder("dead", ended.pid, "1", process.boot_id())
    assert crew.store.run(lease.acquire, dead, now=clock.now(), uptime=clock.uptime(), dead_term=crew.term)
    daemon = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], "CREWYARD_GIT": f"{ended.pid}:1"})
    crew.term = 0
    taking_over = supervisor.Supervisor(crew)
    try:
        taking_over.start()
        assert crew.term == 3
    finally:
        taking_over.stop()
        daemon.kill()
        daemon.wait()
