"""What a new supervisor finds, and how it settles that: one step at a time, with nobody acting but the test."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crewyard.server import (
    agent_processes,
    agents,
    assignments,
    auditor,
    clock,
    dispatches,
    due_times,
    enclosures,
    janitor,
    journals,
    keeper,
    launcher,
    launches,
    lease,
    messages,
    plans,
    process,
    provision,
    readers,
    runners,
    settings,
    settler,
    tasks,
    worktrees,
)
from crewyard.server.crew import Crew
from crewyard.server.errors import LeaseLost

Wait = Callable[..., float]
HIDDEN = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        open(sys.argv[1], 'w').write(str(os.getpid()))\n"
    "        os.execve(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)'], {})\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.001)\n"
)


def assigned(crew: Crew, yard, *, agent_type: str = "scripted", description: str = "") -> str:
    """Task A in an agent type's hands; returns the assignment."""
    draft = readers.read_plan(
        json.dumps({"tasks": [{"task_id": "A", "title": "A", "description": description}]}).encode(), name="plan.json"
    )
    crew.store.run(plans.import_plan, draft, now=clock.now(), actor="test", agent_types={agent_type})
    row = crew.store.run(
        lambda tx: assignments.create(
            tx, tasks.get(tx, "A"), agent_type=agent_type, dispatch_id=None, now=clock.now(), actor="test"
        )
    )
    return str(row["orchestrator_task_id"])


def planned(crew: Crew, assignment_id: str) -> str:
    """An agent whose launch is recorded, and no more."""
    worktree = provision.provide_worktree(crew, "A")
    order = launches.LaunchOrder(
        "scripted", "scripted", "A", assignment_id, worktree.path, str(crew.paths.runs), 60.0, None, "f" * 64, crew.term
    )
    return str(crew.store.run(launches.plan_launch, order, now=clock.now(), actor="test")["agent_id"])


def only_agent(crew: Crew):
    return crew.store.read(lambda tx: tx.only("SELECT * FROM agent_lifecycle"))


def event_kinds(crew: Crew) -> list[str]:
    return [row["kind"] for row in crew.store.read(lambda tx: tx.all("SELECT kind FROM event ORDER BY event_id"))]


def test_a_launch_that_was_recorded_and_not_made_is_given_up_and_not_counted(crew: Crew, yard) -> None:
    assignment_id = assigned(crew, yard)
    planned(crew, assignment_id)
    row = only_agent(crew)
    keeper.take_in(crew, journals.Reader(), row)
    ended = only_agent(crew)
    assert (ended["status"], ended["runner_pid"]) == ("lost", None)
    assert crew.store.read(launches.count, assignment_id) == 0
    # A runner that comes late finds the launch given up, and starts nothing.
    runners.write_order(Path(row["run_dir"]), {})
    who = crew.runners.start(Path(row["run_dir"]))
    assert who is None or process.wait_until_gone(who, 10)
    assert not (Path(row["run_dir"]) / "journal.jsonl").exists()


def test_mail_in_the_prompt_of_a_launch_that_is_given_up_waits_for_the_next(crew: Crew, yard, wait_until: Wait) -> None:
    assignment_id = assigned(crew, yard, description="```crew-script\nsay hello\n```")
    draft = messages.Draft("scripted", "answer", "blue")
    send = {"sender": "lead", "agent_types": ["scripted"], "max_queue": 9, "now": clock.now()}
    [name] = crew.store.run(messages.send, draft, **send).message_ids
    planned(crew, assignment_id)
    crew.store.run(enclosures.put_in, only_agent(crew), can_poll=False, now=clock.now())
    keeper.take_in(crew, journals.Reader(), only_agent(crew))  # its server died before it ordered the runner
    assert crew.store.read(messages.get, name)["status"] == "pending"

    launcher.launch(crew, assignment_id)
    [_, row] = crew.store.read(agents.of_task, "A")
    prompt = (Path(row["run_dir"]) / "prompt.md").read_text()
    assert "> blue" in prompt
    assert crew.store.read(messages.get, name)["status"] == "delivered", "nobody has read it yet"
    wait_until(lambda: journals.Reader().read(Path(row["run_dir"])).ended is not None)
    keeper.take_in(crew, journals.Reader(), crew.store.read(agents.get, row["agent_id"]))
    assert crew.store.read(messages.get, name)["status"] == "acknowledged"


def test_r034_r171_a_launch_is_not_made_twice_however_often_it_is_ordered(crew: Crew, yard, wait_until: Wait) -> None:
    launcher.launch(crew, assigned(crew, yard, description="```crew-script\nsleep 600\n```"))
    row = only_agent(crew)
    run_dir = Path(row["run_dir"])
    both = [process.Identity(row["runner_pid"], row["runner_start_time"], row["boot_id"]), crew.runners.start(run_dir)]
    wait_until(lambda: journals.Reader().read(run_dir).started is not None)
    stays = agent_processes.runner_identity(row)
    for who in both:
        assert who in (None, stays) or process.wait_until_gone(who, 10), "whichever comes second goes"
    assert agent_processes.runner_lives(row)
    assert (run_dir / "journal.jsonl").read_text().count('"started"') == 1
    process.send(stays, signal.SIGTERM)


def test_an_entry_that_a_killed_git_left_half_made_is_taken_off_gits_list(crew: Crew, yard) -> None:
    assigned(crew, yard)
    worktree = provision.provide_worktree(crew, "A")
    crew.store.run(lambda tx: tx.run("UPDATE git_worktree_tracker SET status = 'creating'"))
    (yard.repo / ".git/worktrees" / Path(worktree.path).name / "commondir").write_text("")
    (Path(worktree.path) / "README.md").unlink()  # git checks files out last
    with pytest.raises(subprocess.CalledProcessError):
        yard.git(yard.repo, "worktree", "list")
    settler.settle(crew)
    assert yard.worktrees() == 1
    assert provision.provide_worktree(crew, "A").path == worktree.path, "and it is made anew"
    assert yard.git(Path(worktree.path), "status", "--porcelain") == ""


def test_an_unreadable_entry_of_a_worktree_with_work_in_it_is_mended(crew: Crew, yard) -> None:
    assigned(crew, yard)
    worktree = provision.provide_worktree(crew, "A")
    (Path(worktree.path) / "work.txt").write_text("not committed yet")
    for name in ("gitdir", "commondir", "HEAD"):
        (yard.repo / ".git/worktrees" / Path(worktree.path).name / name).write_text("")
    settler.settle(crew)
    assert yard.git(Path(worktree.path), "status", "--porcelain") == "?? work.txt"
    assert yard.git(Path(worktree.path), "symbolic-ref", "HEAD") == f"refs/heads/{worktree.branch}"


def test_a_half_made_entry_of_the_users_is_left_alone_and_named(crew: Crew, yard, caplog) -> None:
    yard.git(yard.repo, "worktree", "add", "--quiet", "--detach", str(yard.folder / "mine"))
    entry = yard.repo / ".git/worktrees/mine"
    (entry / "commondir").write_text("")
    settler.settle(crew)
    assert entry.exists()
    assert str(entry) in caplog.text


def test_the_tree_of_a_check_that_nobody_waits_for_is_removed(crew: Crew, yard) -> None:
    tree = crew.paths.merge_log(5, 1).with_suffix("")
    yard.git(yard.repo, "worktree", "add", "--quiet", "--detach", str(tree))
    run_dir = crew.paths.merge_log(6, 1).with_suffix(".run")
    run_dir.mkdir(parents=True)
    log = crew.paths.merge_log(7, 1)
    log.write_text("what a message names")
    settler.settle(crew)
    assert (tree.exists(), run_dir.exists(), log.exists()) == (False, False, True)
    assert yard.worktrees() == 1


def test_the_log_of_a_check_that_was_cut_off_is_removed(crew: Crew, proven_task: Callable[..., int]) -> None:
    log = crew.paths.merge_log(proven_task("A"), 1)
    log.parent.mkdir(parents=True)
    log.write_text("half of it")
    settler.settle(crew)
    assert not log.exists()


def test_a_check_leaves_no_daemon_behind_however_it_hides(crew: Crew, yard) -> None:
    where = yard.folder / "hidden.pid"
    done = crew.runners.check(
        [sys.executable, "-c", HIDDEN, str(where)],
        cwd=yard.repo, log=yard.folder / "check.log", timeout_seconds=60, environment={},
    )  # fmt: skip
    assert done.code == 0
    assert process.start_time(int(where.read_text())) is None


def test_a_check_is_ended_with_its_daemons_when_its_time_is_over(crew: Crew, yard) -> None:
    where = yard.folder / "hidden.pid"
    done = crew.runners.check(
        [sys.executable, "-c", HIDDEN + "time.sleep(600)\n", str(where)],
        cwd=yard.repo, log=yard.folder / "check.log", timeout_seconds=1, environment={},
    )  # fmt: skip
    assert done.code is None
    assert process.start_time(int(where.read_text())) is None


def test_r173_processes_of_an_agent_that_nobody_counts_any_more_are_ended(crew: Crew, yard) -> None:
    agent_id = planned(crew, assigned(crew, yard))
    prompt = Path(only_agent(crew)["run_dir"]) / "prompt.md"
    mine = {process.AGENT_VARIABLE: str(prompt)}
    stray = subprocess.Popen(["sleep", "600"], env=mine, start_new_session=True)
    another = subprocess.Popen(["sleep", "600"], env={process.AGENT_VARIABLE: str(yard.folder / "prompt.md")})
    try:
        auditor.end_strays(crew)
        assert stray.poll() is None, "its agent is alive, as far as the database knows"
        long_ago = clock.plus(clock.now(), -60)
        crew.store.run(agents.ended, agent_id, agents.Exit("lost", long_ago), actor="test")
        auditor.end_strays(crew)
        assert stray.wait(10) == -signal.SIGKILL
        assert another.poll() is None, "that one is not ours"
        assert "strays_ended" in event_kinds(crew)
    finally:
        for each in (stray, another):
            each.kill()
            each.wait()


def test_a_supervisor_whose_lease_is_over_ends_no_process(crew: Crew, yard) -> None:
    agent_id = planned(crew, assigned(crew, yard))
    prompt = Path(only_agent(crew)["run_dir"]) / "prompt.md"
    crew.store.run(agents.ended, agent_id, agents.Exit("lost", clock.plus(clock.now(), -60)), actor="test")
    stray = subprocess.Popen(["sleep", "600"], env={process.AGENT_VARIABLE: str(prompt)})
    try:
        crew.store.run(lease.release, crew.term, now=clock.now())
        with pytest.raises(LeaseLost):
            auditor.end_strays(crew)
        assert stray.poll() is None
    finally:
        stray.kill()
        stray.wait()


def test_a_cleanup_that_was_cut_off_is_finished(crew: Crew, yard) -> None:
    """The worktree is gone already, its branch and its row are not."""
    assigned(crew, yard)
    worktree = provision.provide_worktree(crew, "A")
    yard.git(yard.repo, "worktree", "remove", "--force", worktree.path)
    janitor.tidy(crew, worktree)
    assert crew.store.read(worktrees.get, worktree_id=worktree.worktree_id)["status"] == "cleaned"
    assert "refs/heads/roadmap-implementation_task-A" not in yard.refs()


def test_what_is_still_due_moves_with_a_clock_that_is_set(crew: Crew, yard) -> None:
    assignment_id = assigned(crew, yard)
    due = clock.plus(clock.now(), 4)
    crew.store.run(
        lambda tx: tx.run(
            "UPDATE orchestrator_task SET not_before = ? WHERE orchestrator_task_id = ?", (due, assignment_id)
        )
    )
    crew.store.run(due_times.shift, -3600.0, now=clock.now(), actor="test")
    moved = crew.store.read(assignments.get, assignment_id)["not_before"]
    assert moved == clock.plus(due, -3600.0)
    assert "clock_set" in event_kinds(crew)


def test_a_crew_without_work_has_no_runner_and_no_parent_of_runners(crew: Crew) -> None:
    assert crew.store.read(dispatches.listed) == []
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    assert not children.exists() or children.read_text().split() == []


def test_an_agent_whose_yard_was_deleted_ends_with_its_runner(crew: Crew, yard, wait_until: Wait) -> None:
    """Nobody would ever take in how it ends; left alone it would run for ever."""
    yard.configure("[health]\nwarn_after_seconds = 0.4\n")
    crew.settings = settings.load(yard.repo)
    launcher.launch(crew, assigned(crew, yard, description="```crew-script\nsleep 600\n```"))
    row = only_agent(crew)
    wait_until(lambda: journals.Reader().read(Path(row["run_dir"])).started is not None)
    runner = agent_processes.runner_identity(row)
    crew.runners.close()
    gone = Path(row["run_dir"]).rename(yard.folder / "gone")  # at once: its runner may just be writing there
    shutil.rmtree(gone, ignore_errors=True)
    assert process.wait_until_gone(runner, 20)
    assert yard.processes() == []


def test_a_wish_to_end_an_agent_whose_writer_died_before_he_sent_the_signal_is_carried_out(crew: Crew, yard) -> None:
    launcher.launch(crew, assigned(crew, yard, description="```crew-script\nsleep 600\n```"))
    agent_id = only_agent(crew)["agent_id"]
    crew.store.run(
        agents.request_kill,
        agent_id, reason="test", outcome="release", grace_seconds=1.0, now=clock.now(), actor="test",
    )  # fmt: skip
    row = only_agent(crew)
    (Path(row["run_dir"]) / "kill").write_text(str(row["kill_grace_seconds"]))
    keeper.end_requested(row)
    assert process.wait_until_gone(agent_processes.runner_identity(row), 20)


def test_a_parent_of_runners_that_does_not_answer_is_followed_by_another(crew: Crew, yard, monkeypatch) -> None:
    monkeypatch.setattr(runners, "ANSWER_SECONDS", 0.5)
    launcher.launch(crew, assigned(crew, yard, description="```crew-script\nsleep 600\n```"))
    first = only_agent(crew)
    parent = int(Path(f"/proc/{first['runner_pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)
    done = crew.runners.check(["true"], cwd=yard.repo, log=yard.folder / "x.log", timeout_seconds=20, environment={})
    assert done.code == 0
    assert process.start_time(parent) is None
    assert agent_processes.runner_lives(first), "what it had started goes on"


def test_a_launch_that_no_runner_can_be_started_for_is_an_attempt_that_failed(crew: Crew, yard, monkeypatch) -> None:
    """As while Crewyard itself is being replaced; uncounted, it would be tried as fast as one can, for ever."""
    monkeypatch.setattr(process, "RUNNER", yard.folder / "not" / "there.py")
    assignment_id = assigned(crew, yard)
    launcher.launch(crew, assignment_id)
    row = crew.store.read(assignments.get, assignment_id)
    assert (row["status"], row["error_code"], row["retry_count"]) == ("assigned", "resource_exhaustion", 1)
    assert only_agent(crew)["status"] == "lost"
