"""``crewyard run`` from outside: what is merged, what is refused, what is left (issue 2, R-005, R-007, G-05)."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Script = Callable[..., str]


def test_a_plan_is_worked_off_until_everything_is_merged(yard, script: Script) -> None:
    plan = yard.plan(
        {"task_id": "A", "description": script("write a.txt one", "commit First")},
        {"task_id": "B", "description": script("write b.txt two"), "depends_on": ["A"]},
        {"task_id": "C"},
    )
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert {task["task_id"]: task["status"] for task in outcome.result["tasks"]} == dict.fromkeys("ABC", "merged")
    assert (yard.at_roadmap("a.txt"), yard.at_roadmap("b.txt"), yard.at_roadmap("C.md")) == ("one", "two", "Done: C")
    assert yard.refs() == ["refs/heads/main", "refs/heads/roadmap"]
    assert yard.worktrees() == 1
    assert not (yard.repo / ".worktrees").exists()
    assert yard.processes() == []
    assert yard.git(yard.repo, "status", "--porcelain") == "?? crewyard.toml"


def test_each_merge_has_two_parents_and_the_dependents_branch_holds_its_blockers_work(yard, script: Script) -> None:
    plan = yard.plan({"task_id": "A", "description": script("write a.txt one")}, {"task_id": "B", "depends_on": ["A"]})
    outcome = yard.run(plan)
    merge_a, merge_b = outcome.task("A")["merge_commit"], outcome.task("B")["merge_commit"]
    for commit in (merge_a, merge_b):
        assert len(yard.git(yard.repo, "rev-list", "--parents", "-1", commit).split()) == 3
    yard.git(yard.repo, "merge-base", "--is-ancestor", merge_a, f"{merge_b}^2")
    first_parents = yard.git(yard.repo, "rev-list", "--first-parent", "main..roadmap").split()
    assert sorted(first_parents) == sorted([merge_a, merge_b]), "nothing but merges reaches the integration branch"


def test_what_an_agent_leaves_uncommitted_is_committed_on_its_branch(yard, script: Script) -> None:
    outcome = yard.run(yard.plan({"task_id": "A", "description": script("write left.txt here")}))
    assert outcome.code == 0
    assert yard.at_roadmap("left.txt") == "here"


def test_an_agent_that_ends_well_without_a_commit_is_not_believed(yard, script: Script) -> None:
    yard.configure("max_restarts = 1\n")
    outcome = yard.run(yard.plan({"task_id": "A", "description": script("say done")}))
    assert outcome.code == 1
    task = outcome.task("A")
    assert (task["status"], task["attempts"], task["error"]["code"]) == ("review", 2, "max_retries_exceeded")
    assert "no commit" in task["error"]["message"]
    assert yard.git(yard.repo, "rev-parse", "roadmap") == yard.git(yard.repo, "rev-parse", "main")


def test_a_failing_agent_is_restarted_three_times_and_then_its_task_waits_for_review(yard, script: Script) -> None:
    plan = yard.plan({"task_id": "A", "description": script("fail 7")}, {"task_id": "B"})
    outcome = yard.run(plan)
    assert outcome.code == 1
    assert outcome.task("B")["status"] == "merged"
    assert (outcome.task("A")["status"], outcome.task("A")["attempts"]) == ("review", 4)
    assert "exit code 7" in outcome.task("A")["error"]["message"]
    restarts = yard.rows("SELECT attempt_number, backoff_seconds, reason FROM agent_restart_log ORDER BY restart_id")
    assert [tuple(row) for row in restarts] == [
        (1, 0.05, "agent_failed"),
        (2, 0.1, "agent_failed"),
        (3, 0.2, "agent_failed"),
    ]


def test_the_delay_before_a_restart_counts_from_the_exit(yard, script: Script) -> None:
    yard.run(yard.plan({"task_id": "A", "description": script("1: crash", "write a.txt x")}))
    first, second = yard.rows("SELECT * FROM agent_lifecycle ORDER BY attempt")
    due = yard.rows("SELECT due_at FROM agent_restart_log")[0]["due_at"]
    waited = yard.rows("SELECT (julianday(?) - julianday(?)) * 86400 AS s", due, first["completed_at"])[0]["s"]
    assert waited == pytest.approx(0.05, abs=0.002)
    assert second["created_at"] >= due
    assert (first["status"], first["exit_signal"], second["status"]) == ("failed", 9, "completed")


def test_a_restarted_agent_is_told_what_went_wrong_and_works_in_the_same_worktree(yard, script: Script) -> None:
    yard.run(
        yard.plan({"task_id": "A", "description": script("1: write half.txt x", "1: say oops", "1: fail 3", "beat")})
    )
    first, second = yard.rows("SELECT * FROM agent_lifecycle ORDER BY attempt")
    prompt = Path(second["run_dir"], "prompt.md").read_text()
    assert "exit code 3" in prompt
    assert "say oops" in prompt, "the tail of the first one's output"
    assert first["workspace"] == second["workspace"]
    assert yard.at_roadmap("half.txt") == "x", "what the first one left is not lost"


def test_dependents_of_a_task_that_failed_do_not_start_and_a_later_run_takes_them_up(yard, script: Script) -> None:
    yard.configure("max_restarts = 0\n")
    broken = {"task_id": "A", "description": script("fail 1")}
    outcome = yard.run(yard.plan(broken, {"task_id": "B", "depends_on": ["A"]}))
    assert outcome.code == 1
    assert outcome.task("B")["status"] == "cancelled"
    assert "waits for A" in outcome.task("B")["error"]["message"]
    mended = {"task_id": "A", "description": script("write a.txt mended")}
    again = yard.run(yard.plan(mended, {"task_id": "B", "depends_on": ["A"]}))
    assert again.code == 0, again.err
    assert yard.at_roadmap("a.txt") == "mended"
    assert "Trying again what failed before: A" in again.err


def test_a_conflict_goes_back_to_its_agent_and_ends_merged(yard, script: Script) -> None:
    def steps(side: str) -> str:
        return script(f"1: write shared.txt {side}", "1: sleep 0.5", "2-: resolve shared.txt")

    plan = yard.plan({"task_id": "A", "description": steps("ours")}, {"task_id": "B", "description": steps("theirs")})
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert sorted(yard.at_roadmap("shared.txt").splitlines()) == ["ours", "theirs"]
    conflicted = yard.rows("SELECT * FROM merge_request WHERE status = 'conflicted'")
    assert [json.loads(row["conflicted_files"]) for row in conflicted] == [["shared.txt"]]
    assert sorted(task["attempts"] for task in outcome.result["tasks"]) == [1, 2]


def test_a_conflict_that_no_agent_resolves_goes_to_review_with_both_sides_kept(yard, script: Script) -> None:
    yard.configure("[merge]\nmax_attempts = 1\n")

    def steps(side: str) -> str:
        return script(f"1: write shared.txt {side}", "1: sleep 0.5", "2-: say no idea")

    plan = yard.plan({"task_id": "A", "description": steps("ours")}, {"task_id": "B", "description": steps("theirs")})
    outcome = yard.run(plan)
    assert outcome.code == 1
    loser = next(task for task in outcome.result["tasks"] if task["status"] == "review")
    winner = next(task for task in outcome.result["tasks"] if task["status"] == "merged")
    kept = yard.git(yard.repo, "show", f"roadmap-implementation_task-{loser['task_id']}:shared.txt")
    assert {kept, yard.at_roadmap("shared.txt")} == {"ours", "theirs"}
    assert winner["merge_commit"] is not None
    assert "<<<<<<<" not in yard.at_roadmap("shared.txt")


def test_conflicting_additions_are_both_kept_in_files_listed_under_union(yard, script: Script) -> None:
    yard.configure('[merge]\nunion = ["CHANGELOG.md"]\n')
    (yard.repo / "CHANGELOG.md").write_text("# Changes\n")
    yard.git(yard.repo, "add", "CHANGELOG.md")
    yard.git(yard.repo, "commit", "-qm", "Begin a changelog")
    plan = yard.plan(
        {"task_id": "A", "description": script("append CHANGELOG.md from-A", "sleep 0.4")},
        {"task_id": "B", "description": script("append CHANGELOG.md from-B", "sleep 0.4")},
    )
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert sorted(yard.at_roadmap("CHANGELOG.md").splitlines()) == ["# Changes", "from-A", "from-B"]
    assert [task["attempts"] for task in outcome.result["tasks"]] == [1, 1]
    assert "CHANGELOG.md: both sides' additions kept (1 hunk)" in yard.git(
        yard.repo, "log", "--format=%B", "main..roadmap"
    )


def test_only_what_passes_the_merge_check_reaches_the_branch(yard, script: Script) -> None:
    yard.configure('[merge]\ncheck = ["test", "!", "-e", "bad.txt"]\nmax_attempts = 1\n')
    plan = yard.plan(
        {"task_id": "BAD", "description": script("write bad.txt x")},
        {"task_id": "GOOD", "description": script("write good.txt x")},
    )
    outcome = yard.run(plan)
    assert outcome.code == 1
    assert (outcome.task("BAD")["status"], outcome.task("GOOD")["status"]) == ("review", "merged")
    assert outcome.task("BAD")["error"]["code"] == "merge_check_failed"
    assert yard.git(yard.repo, "ls-tree", "--name-only", "roadmap").split() == ["README.md", "good.txt"]
    assert list((yard.repo / "data/crewyard/checks").glob("*/")) == []


def test_a_task_whose_own_check_fails_is_sent_back_with_the_output(yard, script: Script) -> None:
    plan = yard.plan(
        {
            "task_id": "A",
            "check": [sys.executable, "-c", "print('seen by the check'); open('proof.txt').read()"],
            "description": script("write a.txt x", "2-: write proof.txt yes"),
        }
    )
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    assert outcome.task("A")["attempts"] == 2
    second = yard.rows("SELECT run_dir FROM agent_lifecycle WHERE attempt = 2")[0]
    assert "seen by the check" in Path(second["run_dir"], "prompt.md").read_text()


def test_a_checkout_of_the_integration_branch_follows_each_merge(yard, script: Script) -> None:
    yard.git(yard.repo, "switch", "--quiet", "--create", "roadmap")
    (yard.repo / "mine.txt").write_text("untracked, mine")
    outcome = yard.run(yard.plan({"task_id": "A", "description": script("write a.txt x")}))
    assert outcome.code == 0, outcome.err
    assert (yard.repo / "a.txt").read_text() == "x\n"
    assert (yard.repo / "mine.txt").read_text() == "untracked, mine"
    assert yard.git(yard.repo, "status", "--porcelain", "--untracked-files=no") == ""


def test_local_changes_in_the_way_are_never_touched_and_the_error_names_them(yard, script: Script) -> None:
    yard.configure("[merge]\nmax_attempts = 2\nretry_seconds = 0.05\n")
    yard.git(yard.repo, "switch", "--quiet", "--create", "roadmap")
    (yard.repo / "a.txt").write_text("mine, not committed")
    outcome = yard.run(yard.plan({"task_id": "A", "description": script("write a.txt theirs")}))
    assert outcome.code == 1
    error = outcome.task("A")["error"]
    assert error["code"] == "dirty_working_directory"
    assert "a.txt" in error["message"]
    assert (yard.repo / "a.txt").read_text() == "mine, not committed"
    assert yard.git(yard.repo, "rev-parse", "roadmap") == yard.git(yard.repo, "rev-parse", "main")
    assert yard.git(yard.repo, "show", "roadmap-implementation_task-A:a.txt") == "theirs"


def test_no_more_agents_than_max_parallel_work_at_once(yard, script: Script) -> None:
    plan = yard.plan(*({"task_id": f"T{n}", "description": script("sleep 0.3", f"write {n}.txt x")} for n in range(6)))
    assert yard.run(plan, "--max-parallel", "2").code == 0
    spans = yard.rows("SELECT started_at, completed_at FROM agent_lifecycle")
    for moment in (row["started_at"] for row in spans):
        assert sum(row["started_at"] <= moment < row["completed_at"] for row in spans) <= 2


def test_tasks_with_the_same_files_do_not_run_together(yard, script: Script) -> None:
    steps = script("append one.txt x", "sleep 0.2")
    plan = yard.plan(*({"task_id": f"T{n}", "description": steps, "files": ["one.txt"]} for n in range(3)))
    outcome = yard.run(plan)
    assert outcome.code == 0
    assert yard.rows("SELECT count(*) AS n FROM merge_request WHERE status = 'conflicted'")[0]["n"] == 0
    assert yard.at_roadmap("one.txt").split() == ["x", "x", "x"]


def test_an_agent_beyond_its_time_is_ended_with_all_it_started(yard) -> None:
    program = yard.folder / "stubborn.py"
    program.write_text(
        "import os, signal, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    while True: time.sleep(60)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True: time.sleep(60)\n"
    )
    yard.configure(
        "max_restarts = 0\ngrace_period_seconds = 0.2\n"
        f'[agents.stubborn]\ncommand = ["{sys.executable}", "{program}"]\ntimeout_seconds = 0.5\n'
    )
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "stubborn"}))
    assert outcome.code == 1
    assert yard.rows("SELECT status FROM agent_lifecycle")[0]["status"] == "timeout"
    assert yard.processes() == []


def test_a_daemon_that_an_agent_leaves_behind_is_ended(yard) -> None:
    program = yard.folder / "daemon.py"
    program.write_text(
        "import os, subprocess, time\n"
        "open('done.txt', 'w').write('x')\n"
        "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    )
    yard.configure(f'[agents.leaky]\ncommand = ["{sys.executable}", "{program}"]\n')
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "leaky"}))
    assert outcome.code == 0, outcome.err
    assert yard.processes() == []


def test_an_agent_gets_its_prompt_and_a_short_environment_and_nothing_secret(yard, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    monkeypatch.setenv("NAMED_KEY", "given")
    program = yard.folder / "show.py"
    program.write_text(
        "import json, os, sys\n"
        "prompt = open(os.environ['CREWYARD_PROMPT_FILE']).read()\n"
        "stdin = sys.stdin.read()\n"
        "json.dump({'env': dict(os.environ), 'argv': sys.argv[1:], 'prompt': prompt, 'stdin': stdin,\n"
        "           'cwd': os.getcwd()}, open('seen.json', 'w'))\n"
    )
    yard.configure(
        "[agents.shower]\nenvironment = ['NAMED_KEY']\n"
        f'command = ["{sys.executable}", "{program}", "{{task_id}}", "{{prompt}}", "{{attempt}}", "{{worktree}}"]\n'
    )
    description = 'Do it; `rm -rf $HOME` "quoted"\nüber ${PATH} {prompt_file}'
    outcome = yard.run(yard.plan({"task_id": "A-1", "agent_type": "shower", "description": description}))
    assert outcome.code == 0, outcome.err
    seen = json.loads(yard.at_roadmap("seen.json"))
    assert description in seen["prompt"]
    assert seen["argv"] == ["A-1", seen["prompt"], "1", seen["cwd"]]
    assert seen["stdin"] == ""
    assert "SECRET_KEY" not in seen["env"]
    assert seen["env"]["NAMED_KEY"] == "given"
    ours = {name for name in seen["env"] if name.startswith("CREWYARD_")}
    named = "AGENT_ID AGENT_TYPE TASK_ID ATTEMPT PROMPT_FILE WORKTREE MCP_CONFIG OUTPUT_FILE AGENT_TOKEN REPOSITORY"
    assert ours == {f"CREWYARD_{name}" for name in named.split()}
    token = seen["env"]["CREWYARD_AGENT_TOKEN"]
    database = (yard.repo / "data/orchestrator.db").read_bytes()
    assert token.encode() not in database, "only the token's hash is kept"


def test_a_run_of_a_finished_plan_changes_nothing(yard) -> None:
    plan = yard.plan({"task_id": "A"})
    yard.run(plan)
    tip, events = yard.git(yard.repo, "rev-parse", "roadmap"), yard.rows("SELECT max(event_id) FROM event")[0][0]
    again = yard.run(plan)
    assert (again.code, again.result["totals"]["merged"]) == (0, 1)
    assert "done already" in again.err
    assert yard.git(yard.repo, "rev-parse", "roadmap") == tip
    assert yard.rows("SELECT max(event_id) FROM event")[0][0] == events


def test_work_on_a_leftover_branch_of_that_name_is_kept(yard) -> None:
    branch = "roadmap-implementation_task-A"
    yard.git(yard.repo, "switch", "--quiet", "--create", branch)
    (yard.repo / "precious.txt").write_text("mine")
    yard.git(yard.repo, "add", "precious.txt")
    yard.git(yard.repo, "commit", "-qm", "Precious")
    precious = yard.git(yard.repo, "rev-parse", "HEAD")
    yard.git(yard.repo, "switch", "--quiet", "main")
    outcome = yard.run(yard.plan({"task_id": "A"}))
    assert outcome.code == 0, outcome.err
    salvaged = [ref for ref in yard.refs() if ref.startswith("refs/crewyard/salvage/A/")]
    assert [yard.git(yard.repo, "rev-parse", ref) for ref in salvaged] == [precious]
    assert salvaged[0] in outcome.err


def test_a_folder_in_the_way_of_a_worktree_is_left_alone(yard) -> None:
    wanted = yard.repo / ".worktrees/implementation_task-A"
    wanted.mkdir(parents=True)
    (wanted / "mine.txt").write_text("mine")
    outcome = yard.run(yard.plan({"task_id": "A"}))
    assert outcome.code == 0, outcome.err
    assert (wanted / "mine.txt").read_text() == "mine"


def test_a_program_that_vanished_after_the_check_fails_its_task_once(yard) -> None:
    program = yard.repo / "agent.sh"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    yard.configure('[agents.gone]\ncommand = ["./agent.sh"]\n')  # in the root, but not in the worktree
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "gone"}))
    assert outcome.code == 1
    task = outcome.task("A")
    assert (task["status"], task["attempts"], task["error"]["code"]) == ("failed", 1, "spawn_failed")
    assert "agent.sh" in task["error"]["message"]


def test_a_person_at_a_pipe_gets_plain_lines_and_a_summary(yard) -> None:
    plan = yard.plan({"task_id": "A"})
    command = [sys.executable, "-m", "crewyard.server.cli", "run", str(plan), "--repo", str(yard.repo)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "1 of 1 tasks done on branch roadmap" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "Made branch roadmap from HEAD" in done.stderr


def test_a_lock_that_a_killed_git_left_in_a_worktree_does_not_stop_the_run(yard, script: Script) -> None:
    lock = ".git/worktrees/implementation_task-A/index.lock"
    program = yard.folder / "locker.sh"
    program.write_text(f"echo x > a.txt; touch '{yard.repo}/{lock}'\n")
    yard.configure(f'[agents.locker]\ncommand = ["sh", "{program}"]\n')
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "locker"}))
    assert (outcome.code, outcome.task("A")["attempts"]) == (0, 1), outcome.err
    assert yard.at_roadmap("a.txt") == "x"


def test_an_agent_that_leaves_its_branch_is_reported_and_its_work_stays(yard) -> None:
    program = yard.folder / "wander.sh"
    program.write_text("echo x > a.txt; git switch -q -c elsewhere; git add -A; git commit -qm Elsewhere\n")
    yard.configure(f'[agents.wanderer]\ncommand = ["sh", "{program}"]\n')
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "wanderer"}))
    assert outcome.code == 1
    assert (outcome.task("A")["status"], outcome.task("A")["error"]["code"]) == ("review", "wrong_branch")
    assert yard.git(yard.repo, "show", "elsewhere:a.txt") == "x"


def test_an_agent_that_removes_its_own_worktree_does_not_stop_the_run(yard) -> None:
    program = yard.folder / "remove.sh"
    program.write_text('cd /; rm -rf "$CREWYARD_WORKTREE"\n')
    yard.configure(f'max_restarts = 1\n[agents.remover]\ncommand = ["sh", "{program}"]\n')
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "remover"}, {"task_id": "B"}))
    assert outcome.code == 1
    assert (outcome.task("A")["status"], outcome.task("B")["status"]) == ("review", "merged")


def test_an_interrupt_does_not_wait_for_a_merge_check(yard, script: Script) -> None:
    yard.configure('[merge]\ncheck = ["sleep", "600"]\n')
    running = yard.start(yard.plan({"task_id": "A"}))
    running.until("finished")
    while not list((yard.repo / "data/crewyard/checks").glob("*.log")):
        pass
    running.interrupt()
    assert running.finish().code == 130
    assert yard.rows("SELECT status FROM merge_request")[0]["status"] in ("checking", "queued")
    yard.configure("")
    again = yard.run(yard.folder / "plan.json")
    assert again.code == 0, again.err
    assert yard.worktrees() == 1


def test_a_repository_that_an_agent_made_inside_its_worktree_is_not_swallowed(yard) -> None:
    program = yard.folder / "nest.sh"
    program.write_text("echo x > a.txt; git init -q inner; echo precious > inner/p.txt\n")
    yard.configure(f'max_restarts = 0\n[agents.nester]\ncommand = ["sh", "{program}"]\n')
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "nester"}))
    assert outcome.code == 1
    assert "inner" in outcome.task("A")["error"]["message"]
    assert (yard.repo / ".worktrees/implementation_task-A/inner/p.txt").read_text() == "precious\n"
