"""Ways in which work was lost, doubled or left hanging before: each was seen, and each must stay mended."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crewyard.server import preparing, process
from crewyard.server.repository import Repository

Script = Callable[..., str]


def shell_agent(yard, steps: str, extra: str = "") -> Path:
    """A plan of one task whose agent is a shell script."""
    program = yard.folder / "agent.sh"
    program.write_text(steps)
    yard.configure(f'max_restarts = 0\n{extra}[agents.shell]\ncommand = ["sh", "{program}"]\n')
    return yard.plan({"task_id": "A", "agent_type": "shell"})


def test_a_half_made_worktree_is_made_anew_and_not_taken_for_deletions(yard) -> None:
    """As after a power cut inside `git worktree add`, before its files were written."""
    repository = Repository.discover(yard.repo)
    path, branch, base = yard.folder / "w", "task", yard.git(yard.repo, "rev-parse", "main")
    yard.git(yard.repo, "worktree", "add", "--quiet", "--no-checkout", "-b", branch, str(path), base)
    admin = Path(yard.git(path, "rev-parse", "--absolute-git-dir"))
    (admin / "locked").write_text("initializing")
    preparing.prepare(repository, path, branch, base, "refs/crewyard/salvage/A/1")
    assert (path / "README.md").exists()
    assert yard.git(path, "status", "--porcelain") == ""


def test_commits_on_a_detached_head_are_not_cleaned_away(yard) -> None:
    plan = shell_agent(yard, "git checkout -q --detach; echo x > a.txt; git add -A; git commit -qm Detached\n")
    outcome = yard.run(plan)
    assert (outcome.code, outcome.task("A")["error"]["code"]) == (1, "wrong_branch")
    worktree = yard.repo / ".worktrees/implementation_task-A"
    assert yard.git(worktree, "log", "-1", "--format=%s") == "Detached"


@pytest.mark.parametrize("commit", ["", "git add inner 2>/dev/null; git commit -qm Inner;"])
def test_a_repository_inside_a_worktree_is_never_swallowed(yard, commit: str) -> None:
    inner = "git init -q inner; cd inner; git config user.name T; git config user.email t@example.org; "
    inner += "echo precious > p.txt; git add -A; git commit -qm Precious; echo more > q.txt; cd ..; echo x > a.txt;"
    outcome = yard.run(shell_agent(yard, f"{inner} {commit}\n"))
    assert outcome.code == 1
    assert "inner" in outcome.task("A")["error"]["message"]
    kept = yard.repo / ".worktrees/implementation_task-A/inner"
    assert ((kept / "p.txt").read_text(), (kept / "q.txt").read_text()) == ("precious\n", "more\n")


def test_changes_inside_a_submodule_are_refused_and_kept(yard, git: Callable[..., str]) -> None:
    library = yard.folder / "library"
    git(yard.folder, "init", "-q", "library")
    (library / "l.txt").write_text("one\n")
    git(library, "add", ".")
    git(library, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "Library")
    git(yard.repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    git(yard.repo, "commit", "-qm", "Add the library")
    steps = "git -c protocol.file.allow=always submodule --quiet update --init; echo two > lib/l.txt; echo x > a.txt\n"
    outcome = yard.run(shell_agent(yard, steps))
    assert outcome.code == 1
    assert "lib" in outcome.task("A")["error"]["message"]
    assert (yard.repo / ".worktrees/implementation_task-A/lib/l.txt").read_text() == "two\n"


def test_a_worktree_with_an_unchanged_submodule_is_cleaned_up(yard, git: Callable[..., str]) -> None:
    library = yard.folder / "library"
    git(yard.folder, "init", "-q", "library")
    git(library, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "L")
    git(yard.repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    git(yard.repo, "commit", "-qm", "Add the library")
    steps = "git -c protocol.file.allow=always submodule --quiet update --init; echo x > a.txt\n"
    outcome = yard.run(shell_agent(yard, steps))
    assert outcome.code == 0, outcome.err
    assert (yard.worktrees(), yard.refs()) == (1, ["refs/heads/main", "refs/heads/roadmap"])


def test_an_ignored_file_of_the_users_is_not_overwritten(yard) -> None:
    (yard.repo / ".gitignore").write_text("local.conf\n")
    yard.git(yard.repo, "add", ".gitignore")
    yard.git(yard.repo, "commit", "-qm", "Ignore")
    yard.git(yard.repo, "switch", "--quiet", "--create", "roadmap")
    (yard.repo / "local.conf").write_text("mine")
    plan = shell_agent(yard, "echo theirs > local.conf; git add -f local.conf; git commit -qm Conf\n")
    yard.configure((yard.repo / "crewyard.toml").read_text().split("\n", 2)[2] + "[merge]\nmax_attempts = 1\n")
    outcome = yard.run(plan)
    assert outcome.code == 1
    assert "local.conf" in outcome.task("A")["error"]["message"]
    assert (yard.repo / "local.conf").read_text() == "mine"


def test_a_worktree_of_the_users_that_is_away_for_the_moment_stays_on_gits_list(yard) -> None:
    away = yard.folder / "usb"
    yard.git(yard.repo, "worktree", "add", "--quiet", "--detach", str(away), "main")
    away.rename(yard.folder / "unplugged")
    assert yard.run(yard.plan({"task_id": "A"})).code == 0
    (yard.folder / "unplugged").rename(away)
    assert yard.git(away, "status", "--porcelain") == ""


def test_a_binary_conflict_that_the_agent_left_alone_is_not_resolved(yard) -> None:
    program = yard.folder / "agent.sh"
    program.write_text(
        "[ $CREWYARD_ATTEMPT = 1 ] || exit 0\n"
        'printf "$CREWYARD_TASK_ID\\000" > image.bin; sleep 0.5; git add -A; git commit -qm Image\n'
    )
    yard.configure(f'max_restarts = 0\n[merge]\nmax_attempts = 1\n[agents.shell]\ncommand = ["sh", "{program}"]\n')
    plan = yard.plan({"task_id": "A", "agent_type": "shell"}, {"task_id": "B", "agent_type": "shell"})
    outcome = yard.run(plan)
    assert outcome.code == 1
    assert sorted(task["status"] for task in outcome.result["tasks"]) == ["merged", "review"]
    loser = next(task["task_id"] for task in outcome.result["tasks"] if task["status"] == "review")
    assert yard.git(yard.repo, "show", f"roadmap-implementation_task-{loser}:image.bin").startswith(loser)


def test_git_is_out_of_reach_of_a_terminals_interrupt(yard) -> None:
    """Its session is its own, so that Ctrl-C does not cut a checkout off half way."""
    hook = yard.repo / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\nps -o sid= -p $$ > '{yard.folder}/session'\n")
    hook.chmod(0o755)
    yard.run(yard.plan({"task_id": "A"}))
    assert int((yard.folder / "session").read_text()) != os.getsid(0)


def test_a_signal_without_a_name_ends_an_attempt_like_any_other(yard) -> None:
    outcome = yard.run(shell_agent(yard, "kill -40 $$\n"))
    assert outcome.code == 1
    assert "signal 40" in outcome.task("A")["error"]["message"]


def test_an_integration_branch_that_is_deleted_meanwhile_ends_the_run(yard) -> None:
    steps = f"echo x > a.txt; git -C '{yard.repo}' update-ref -d refs/heads/roadmap\n"
    outcome = yard.run(shell_agent(yard, steps))
    assert outcome.code == 1
    assert "roadmap" in outcome.task("A")["error"]["message"]
    assert yard.git(yard.repo, "show", "roadmap-implementation_task-A:a.txt") == "x"


def test_a_title_of_any_length_can_be_merged(yard) -> None:
    plan = yard.plan({"task_id": "A", "title": "long " * 40_000})
    assert yard.run(plan).code == 0


def test_what_is_asked_for_after_an_interruption_holds(yard, script: Script) -> None:
    plan = yard.plan({"task_id": "A", "agent_type": None, "description": script("1: hang", "2-: write a.txt x")})
    yard.configure('grace_period_seconds = 0.1\n[agents.bad]\nkind = "scripted"\n[agents.good]\nkind = "scripted"\n')
    running = yard.start(plan, "--agent", "bad")
    running.until("A: bad")
    running.interrupt()
    assert running.finish().code == 130
    outcome = yard.run(plan, "--agent", "good")
    assert outcome.code == 0, outcome.err
    kinds = [row["agent_type"] for row in yard.rows("SELECT agent_type FROM agent_lifecycle ORDER BY attempt")]
    assert (kinds[0], kinds[-1]) == ("bad", "good")


def test_a_task_that_waited_for_a_restart_is_the_plans_again_after_an_interruption(yard, script: Script) -> None:
    yard.configure("restart_backoff_seconds = 600\n".replace("restart_backoff_seconds", "restart_backoff_cap_seconds"))
    (yard.repo / "crewyard.toml").write_text("[crew]\nrestart_backoff_seconds = 600\n")
    failing = {"task_id": "A", "description": script("1: fail 1", "write a.txt x")}
    running = yard.start(yard.plan(failing))
    running.until("failed")
    running.interrupt()
    assert running.finish().code == 130
    outcome = yard.run(yard.plan(failing, {"task_id": "B"}))
    assert outcome.code == 0, outcome.err


def test_two_runs_that_are_interrupted_together_leave_no_agent(yard, script: Script) -> None:
    plan = yard.plan({"task_id": "A", "description": script("sleep 600")})
    first = yard.start(plan)
    first.until("A: scripted")
    second = yard.start(plan)
    second.until("Going on with dispatch")
    for running in (first, second):
        running.interrupt()
    assert [running.finish().code for running in (first, second)] == [130, 130]
    assert yard.processes() == []


def test_no_more_instances_than_configured_work_when_one_is_restarted(yard, script: Script) -> None:
    yard.configure('[agents.rare]\nkind = "scripted"\nmax_instances = 1\n')
    steps = script("1: fail 1", "sleep 0.3", "write $CREWYARD.txt x")
    plan = yard.plan(*({"task_id": f"T{n}", "agent_type": "rare", "description": steps} for n in range(3)))
    yard.run(plan)
    spans = yard.rows("SELECT started_at, completed_at FROM agent_lifecycle WHERE started_at IS NOT NULL")
    for moment in (row["started_at"] for row in spans):
        assert sum(row["started_at"] <= moment < row["completed_at"] for row in spans) <= 1


def test_a_check_that_outlived_its_server_is_ended_before_it_is_run_again(yard, script: Script) -> None:
    log = yard.folder / "checks.log"
    yard.configure(f'[merge]\ncheck = ["sh", "-c", "echo $$ >> {log}; sleep 1.5"]\n')
    first = yard.start(yard.plan({"task_id": "A"}))
    while not log.exists() or not log.read_text().strip():
        os.sched_yield()
    earlier = process.identify(int(log.read_text().split()[0]))
    first.process.kill()
    first.process.wait()
    second = yard.start(yard.folder / "plan.json")
    while len(log.read_text().split()) < 2:
        os.sched_yield()
    assert earlier is not None
    assert not process.is_alive(earlier)
    assert second.finish().code == 0


def test_a_new_database_does_not_take_old_run_folders_for_its_own(yard) -> None:
    assert yard.run(yard.plan({"task_id": "A"})).code == 0
    for file in (yard.repo / "data").glob("orchestrator.db*"):
        file.unlink()
    outcome = yard.run(yard.plan({"task_id": "B"}))
    assert outcome.code == 0, outcome.err
    assert yard.at_roadmap("B.md") == "Done: B"


def test_a_branch_that_only_follows_the_integration_branch_is_no_evidence(yard) -> None:
    program = yard.folder / "follow.sh"
    program.write_text(
        "while [ $(git rev-list --count main..roadmap) = 0 ]; do sleep 0.05; done; git merge -q roadmap\n"
    )
    yard.configure(f'max_restarts = 0\n[agents.follower]\ncommand = ["sh", "{program}"]\n')
    outcome = yard.run(yard.plan({"task_id": "A"}, {"task_id": "B", "agent_type": "follower"}))
    assert (outcome.task("A")["status"], outcome.task("B")["status"]) == ("merged", "review")


def test_settings_of_a_submodule_are_its_own(yard, git: Callable[..., str]) -> None:
    library = yard.folder / "library"
    git(yard.folder, "init", "-q", "library")
    git(library, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "L")
    git(yard.repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    assert Repository.discover(yard.repo / "lib").root == yard.repo / "lib"
    git(yard.repo, "worktree", "add", "--quiet", str(yard.folder / "linked"), "-b", "linked")
    assert Repository.discover(yard.folder / "linked").root == yard.repo


def test_a_full_disk_costs_output_and_not_the_runner(tmp_path: Path) -> None:
    """The runner's own complaints go to a file on the same disk; /dev/full refuses every write."""
    program = (
        "import os, sys; from crewyard.server.runner import journal, output; "
        "file = output.RotatedFile(sys.argv[1], 100); os.dup2(os.open('/dev/full', 1), file.file); "
        "file.write(b'x'); journal.complain('unheard'); print('alive')"
    )
    command = ["-c", program, str(tmp_path / "out")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.stdout == b"alive\n"
    assert done.returncode != -signal.SIGKILL


def test_git_is_run_again_where_another_worktree_was_just_being_made(yard) -> None:
    """`git worktree list` dies on an empty `commondir`, which another `git worktree add` leaves for a moment."""
    other = yard.repo / ".git/worktrees/other"
    yard.git(yard.repo, "worktree", "add", "--quiet", "--detach", str(yard.folder / "other"))
    whole = (other / "commondir").read_text()
    (other / "commondir").write_text("")
    repository = Repository.discover
    mender = subprocess.Popen(["sh", "-c", f"sleep 0.05; printf '{whole.strip()}\\n' > '{other}/commondir'"])
    assert len(repository(yard.repo).checkouts()) == 2
    mender.wait()


def test_a_worktree_that_lost_its_git_file_costs_the_users_checkout_nothing(yard) -> None:
    """Git goes up from such a folder to the repository that it lies in: the user's own, with his own changes."""
    before = yard.git(yard.repo, "rev-parse", "HEAD")
    running = yard.start(shell_agent(yard, "echo x > a.txt; rm -f .git; echo gone; exec sleep 600\n"))
    running.until("A: shell")
    output = Path(yard.rows("SELECT run_dir FROM agent_lifecycle")[0]["run_dir"], "output.log")
    while "gone" not in (output.read_text() if output.exists() else ""):
        os.sched_yield()
    (yard.repo / "README.md").write_text("half a thought of the user's\n")
    (yard.repo / "notes.txt").write_text("his too\n")
    running.interrupt()
    assert running.finish().code == 130
    assert yard.git(yard.repo, "rev-parse", "HEAD") == before
    assert yard.git(yard.repo, "status", "--porcelain", "README.md", "notes.txt") == " M README.md\n?? notes.txt"
    assert (yard.repo / ".worktrees/implementation_task-A/a.txt").read_text() == "x\n", (
        "and the agent's is kept as well"
    )


def test_a_stopped_runner_ends_its_agent_all_the_same(yard, script: Script) -> None:
    """As after an agent's `kill -STOP $PPID`."""
    yard.configure("grace_period_seconds = 0.2\n")
    running = yard.start(yard.plan({"task_id": "A", "description": script("sleep 600")}))
    running.until("A: scripted")
    row = yard.rows("SELECT * FROM agent_lifecycle")[0]
    os.kill(row["runner_pid"], signal.SIGSTOP)
    running.interrupt()
    assert running.finish().code == 130
    assert yard.processes() == []


def test_a_program_that_is_being_replaced_is_tried_again(yard) -> None:
    """A file that is written to cannot be run (ETXTBSY): as while a package is upgraded."""
    program = yard.folder / "agent"
    shutil.copy(shutil.which("true") or "/bin/true", program)
    yard.configure(f'[agents.tool]\ncommand = ["{program}"]\n')
    with program.open("r+b"):
        running = yard.start(yard.plan({"task_id": "A", "agent_type": "tool"}))
        running.until("Text file busy")
    outcome = running.finish()
    attempts = yard.rows("SELECT status, error_message FROM agent_lifecycle ORDER BY rowid")
    assert "Text file busy" in attempts[0]["error_message"]
    assert attempts[-1]["status"] == "completed", outcome.err
