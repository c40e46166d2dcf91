"""The commands that make, merge and remove worktrees: real git, one test a requirement (R-127 to R-141)."""

import gc
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from crewyard import ClaudeAgentInvoker

Invoke = Callable[..., dict[str, Any]]


@pytest.fixture
def invoke(yard) -> Invoke:
    def call(name: str, **parameters: Any) -> dict[str, Any]:
        return ClaudeAgentInvoker(repo=yard.repo).invoke_command(name, parameters)

    call("find-available-work")  # the database is there
    return call


@pytest.fixture
def worked(yard, invoke: Invoke, wait_until) -> Callable[..., dict[str, Any]]:
    """``worked(task_id, description)``: a task whose agent has finished."""

    def work(task_id: str, description: str = "") -> dict[str, Any]:
        add(yard, task_id, description)
        answer = invoke("spawn-agent-session", TASK_ID=task_id)
        assert answer["success"], answer
        wait_until(lambda: not Path(f"/proc/{answer['pid']}").exists())
        return answer

    return work


def add(yard, *task_ids: str) -> None:
    task_id, *rest = task_ids
    insert = (
        "INSERT INTO specs_task (task_id, title, description, agent_type, status, created_at, updated_at) "
        "VALUES (?, ?, ?, 'scripted', 'ready', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z')"
    )
    with closing(sqlite3.connect(yard.repo / "data" / "orchestrator.db", timeout=5)) as raw, raw:
        raw.execute(insert, (task_id, task_id, "".join(rest)))


def state(yard, task_id: str) -> Any:
    [row] = yard.rows("SELECT * FROM orchestrator_state WHERE task_id = ?", task_id)
    return row


# ------------------------------------------------------------------------------------------------ create-worktree


def test_a_command_leaves_neither_a_process_nor_a_thread_in_the_program_that_invoked_it(yard, invoke: Invoke) -> None:
    add(yard, "A")
    before = set(psutil.Process().children())
    gc.disable()  # which ends what nobody refers to any more, some time
    try:
        assert invoke("create-worktree", TASK_ID="A", BASE_BRANCH="none")["error"] == "invalid_base_branch"
        assert invoke("create-worktree", TASK_ID="A")["success"]
        assert not invoke("merge-completed-work", TASK_ID="A")["success"]
        assert not invoke("cleanup-worktrees", TASK_ID="B")["success"]
        assert invoke("cleanup-worktrees", TASK_ID="A", FORCE_CLEANUP="true")["success"]
    finally:
        gc.enable()
    assert [each.cmdline() for each in set(psutil.Process().children()) - before] == []
    assert [each.name for each in threading.enumerate() if each.name.startswith("crewyard")] == []


def test_r127_r129_branch_and_worktree_have_the_documents_names_and_are_clean(yard, invoke: Invoke) -> None:
    add(yard, "TASK-31-1")
    made = invoke("create-worktree", TASK_ID="TASK-31-1")
    path = yard.repo / ".worktrees" / "implementation_task-TASK-31-1"
    assert (made["worktree_path"], made["branch_name"]) == (str(path), "roadmap-implementation_task-TASK-31-1")
    assert yard.git(path, "branch", "--show-current") == made["branch_name"]
    assert yard.git(path, "status", "--porcelain") == ""
    assert yard.git(path, "rev-parse", "HEAD") == made["git_commit_ref"] == yard.git(yard.repo, "rev-parse", "roadmap")
    row = state(yard, "TASK-31-1")
    assert (row["status"], row["worktree_path"], made["status"]) == ("created", str(path), "created")
    assert row["created_at"] == made["created_at"]
    assert yard.rows("SELECT * FROM agent_lifecycle") == []


def test_r128_base_folder_and_several_at_once(yard, invoke: Invoke, tmp_path: Path) -> None:
    yard.git(yard.repo, "branch", "release")
    yard.git(yard.repo, "commit", "-q", "--allow-empty", "-m", "later")
    for name in "ABC":
        add(yard, name)
    made = invoke("create-worktree", TASK_ID="A", BASE_BRANCH="release", WORKTREE_ROOT=str(tmp_path / "elsewhere"))
    assert made["worktree_path"] == str(tmp_path / "elsewhere" / "implementation_task-A")
    assert made["git_commit_ref"] == yard.git(yard.repo, "rev-parse", "release")
    many = invoke("create-worktree", ACTION="create_multiple", TASKS="B,C,nothing", WORKTREE_ROOT="trees")
    assert (many["worktrees_created"], [each["task_id"] for each in many["worktrees"]]) == (2, ["B", "C"])
    assert [each["error"] for each in many["failed_tasks"]] == ["task_not_found"]
    assert (yard.repo / "trees" / "implementation_task-B" / ".git").exists()
    assert "trees" not in yard.git(yard.repo, "status", "--porcelain")


def test_r130_r197_each_refusal_has_its_code_and_a_way_out(yard, invoke: Invoke) -> None:
    add(yard, "A")
    assert invoke("create-worktree", TASK_ID="A", BASE_BRANCH="nowhere")["error"] == "invalid_base_branch"
    first = invoke("create-worktree", TASK_ID="A")
    again = invoke("create-worktree", TASK_ID="A")
    assert (again["error"], again["worktree_path"]) == ("worktree_exists", first["worktree_path"])
    assert "cleanup-worktrees" in again["hint"]


def test_r130_r198_a_branch_that_is_checked_out_elsewhere_is_refused(yard, invoke: Invoke) -> None:
    add(yard, "A")
    yard.git(yard.repo, "switch", "-q", "-c", "roadmap-implementation_task-A")
    answer = invoke("create-worktree", TASK_ID="A")
    assert (answer["error"], bool(answer["hint"])) == ("branch_exists", True)


def test_r131_a_setup_that_fails_leaves_neither_folder_nor_branch(yard, invoke: Invoke) -> None:
    yard.configure('[worktree]\nsetup = ["false"]\n')
    add(yard, "A")
    assert invoke("create-worktree", TASK_ID="A")["success"] is False
    assert not (yard.repo / ".worktrees" / "implementation_task-A").exists()
    assert "refs/heads/roadmap-implementation_task-A" not in yard.refs()


def test_r131_an_agent_in_its_worktree_is_told_where_its_server_finds_the_database(yard, invoke, worked) -> None:
    yard.configure('[agents.seer]\ncommand = ["sh", "-c", "cp $CREWYARD_MCP_CONFIG seen.json"]\n')
    add(yard, "A")
    answer = invoke("spawn-agent-session", TASK_ID="A", AGENT_TYPE="seer")
    invoke("merge-completed-work", TASK_ID="A")
    assert str(yard.repo) in yard.git(yard.repo, "show", "roadmap:seen.json")
    assert answer["success"]


# ------------------------------------------------------------------------------------------- merge-completed-work


def test_r132_r134_r135_proven_work_is_merged_without_fast_forward_and_recorded(yard, invoke: Invoke, worked) -> None:
    worked("A")
    done = invoke("merge-completed-work", TASK_ID="A")
    assert done["success"], done
    assert yard.git(yard.repo, "rev-parse", "roadmap") == done["merge_commit"]
    assert len(yard.git(yard.repo, "rev-list", "--parents", "-n1", "roadmap").split()) == 3, "two parents"
    assert (done["files_changed"], done["conflicts"], done["merge_strategy"]) == (1, 0, "recursive")
    row = state(yard, "A")
    assert (row["status"], row["merge_commit_ref"], row["merged_at"]) == (
        "merged", done["merge_commit"], done["merged_at"],
    )  # fmt: skip
    assert yard.rows("SELECT status FROM orchestrator_task")[0][0] == "merged"
    assert yard.rows("SELECT status FROM specs_task")[0][0] == "completed"


def conflict(yard, worked: Any, script: Any) -> None:
    """A and B write the same line differently, from one base; A is merged."""
    worked("A", script("write same.txt from-a", "commit a"))
    worked("B", script("write same.txt from-b", "commit b"))
    answer = ClaudeAgentInvoker(repo=yard.repo).invoke_command("merge-completed-work", {"TASK_ID": "A"})
    assert answer["success"], answer


def test_r133_r134_a_conflict_names_its_files_and_is_resolved_by_a_side(yard, invoke: Invoke, worked, script) -> None:
    conflict(yard, worked, script)
    refused = invoke("merge-completed-work", TASK_ID="B")
    assert (refused["error"], refused["conflicts_count"]) == ("merge_conflicts", 1)
    assert refused["conflicted_files"] == ["same.txt"]
    done = invoke("merge-completed-work", ACTION="resolve_conflicts", TASK_ID="B", CONFLICT_STRATEGY="theirs")
    assert (done["success"], done["action"]) == (True, "resolve_conflicts"), done
    assert yard.at_roadmap("same.txt") == "from-b"
    assert len(yard.rows("SELECT * FROM agent_lifecycle")) == 2, "no agent was started for it"


def test_r133_with_ours_the_integration_branchs_side_of_what_conflicts_is_taken(
    yard, invoke: Invoke, worked, script
) -> None:
    conflict(yard, worked, script)
    done = invoke("merge-completed-work", TASK_ID="B", MERGE_STRATEGY="ours")
    assert (done["success"], done["conflicts"] > 0) == (True, True), done
    assert yard.at_roadmap("same.txt") == "from-a"


def test_r134_what_waits_for_an_approval_is_in_the_queue_and_force_approves_it(yard, invoke: Invoke, worked) -> None:
    yard.configure("[merge]\nauto_approve = false\n")
    worked("A")
    waits = invoke("merge-completed-work", TASK_ID="A")
    assert (waits["merge_commit"], waits["position"]) == (None, 1)
    queue = invoke("merge-completed-work", ACTION="status")
    assert [(each["task_id"], each["status"], each["position"]) for each in queue["merge_queue"]] == [
        ("A", "completed_awaiting_merge", 1)
    ]
    assert (queue["total_in_queue"], queue["next_to_merge"]) == (1, None)
    assert invoke("merge-completed-work", TASK_ID="A", FORCE_MERGE="true")["merge_commit"]
    assert yard.rows("SELECT approved_by FROM merge_request")[0][0] == "lead"


def test_r136_each_refusal_has_its_code(yard, invoke: Invoke, worked) -> None:
    add(yard, "B")
    assert invoke("merge-completed-work", TASK_ID="B")["error"] == "task_not_completed"
    assert invoke("merge-completed-work", TASK_ID="nothing")["error"] == "task_not_found"
    worked("A")
    commit = invoke("merge-completed-work", TASK_ID="A")["merge_commit"]
    again = invoke("merge-completed-work", TASK_ID="A")
    assert (again["error"], again["merge_commit"]) == ("merge_already_done", commit)


def test_r137_the_tasks_check_and_the_merge_check_both_hold_before_the_branch_moves(
    yard, invoke: Invoke, worked, script
) -> None:
    yard.configure('[merge]\ncheck = ["sh", "-c", "test ! -e bad.txt"]\n')
    before = yard.git(yard.repo, "rev-parse", "main")
    worked("A", script("write bad.txt x", "commit bad"))
    refused = invoke("merge-completed-work", TASK_ID="A")
    assert refused["error"] == "merge_check_failed"
    assert yard.git(yard.repo, "rev-parse", "roadmap") == before


# ---------------------------------------------------------------------------------------------- cleanup-worktrees


def test_r138_r140_a_merged_tasks_worktree_branch_and_reflog_are_removed(yard, invoke: Invoke, worked) -> None:
    answer = worked("A")
    invoke("merge-completed-work", TASK_ID="A")
    [candidate] = invoke("cleanup-worktrees", ACTION="list_candidates")["candidates"]
    assert (candidate["ready_for_cleanup"], candidate["status"]) == (True, "merged")
    assert candidate["merged_at"] == state(yard, "A")["merged_at"]
    done = invoke("cleanup-worktrees", TASK_ID="A")
    assert (done["status"], done["disk_space_freed_mb"] > 0) == ("cleaned", True)
    assert not Path(answer["worktree_path"]).exists()
    assert "refs/heads/roadmap-implementation_task-A" not in yard.refs()
    assert not (yard.repo / ".git/logs/refs/heads/roadmap-implementation_task-A").exists()
    row = state(yard, "A")
    assert (row["status"], row["cleaned_at"]) == ("cleaned", done["cleaned_at"])


def test_r139_all_that_are_merged_go_and_the_rest_stays_with_its_reason(yard, invoke: Invoke, worked) -> None:
    worked("A")
    worked("B")
    invoke("merge-completed-work", TASK_ID="A")
    done = invoke("cleanup-worktrees", ACTION="cleanup_all", STATUS_FILTER="merged")
    assert (done["worktrees_cleaned"], done["cleaned"]) == (1, ["A"])
    assert done["total_disk_space_freed_mb"] > 0
    assert [each["task_id"] for each in done["left"]] == ["B"]


def test_r141_each_refusal_has_its_code_and_what_is_gone_is_told_as_cleaned(
    yard, invoke: Invoke, worked, script
) -> None:
    add(yard, "B")
    assert invoke("cleanup-worktrees", TASK_ID="nothing")["error"] == "task_not_found"
    assert invoke("cleanup-worktrees", TASK_ID="B")["error"] == "worktree_not_found"
    path = Path(invoke("create-worktree", TASK_ID="B")["worktree_path"])
    (path / "new.txt").write_text("mine")
    assert invoke("cleanup-worktrees", TASK_ID="B")["error"] == "uncommitted_changes"
    assert (path / "new.txt").exists()
    forced = invoke("cleanup-worktrees", TASK_ID="B", FORCE_CLEANUP="true")
    assert yard.git(yard.repo, "show", f"{forced['salvage_refs'][0]}:new.txt") == "mine"
    assert invoke("cleanup-worktrees", TASK_ID="B")["status"] == "cleaned"
    add(yard, "C", script("sleep 60"))
    live = invoke("spawn-agent-session", TASK_ID="C")
    assert invoke("cleanup-worktrees", TASK_ID="C", FORCE_CLEANUP="true")["error"] == "still_in_use"
    assert invoke("kill-stalled-agent", AGENT_ID=live["agent_id"])["success"]


def test_r005_the_documents_flow_from_finding_to_cleaning_up(yard, invoke: Invoke, wait_until) -> None:
    for name in "ABCD":
        add(yard, name)
    found = [each["task_id"] for each in invoke("find-available-work", MAX_PARALLEL="4")["available_tasks"]]
    assert invoke("create-parallel-tasks", TASKS=found)["total_created"] == 4
    assert invoke("create-worktree", ACTION="create_multiple", TASKS=found)["worktrees_created"] == 4
    agents = [invoke("spawn-agent-session", TASK_ID=name, AGENT_TYPE="scripted") for name in found]
    wait_until(lambda: invoke("monitor-agent-lifecycle")["agents_checked"] == 0 or not yard.processes())
    assert all(agent["success"] for agent in agents)
    for name in found:
        merged = invoke("merge-completed-work", TASK_ID=name)
        # A spawn that took its time has seen its agent end, and merged its work.
        assert merged["success"] or merged["error"] == "merge_already_done", merged
    assert invoke("cleanup-worktrees", ACTION="cleanup_all")["worktrees_cleaned"] == 4
    assert sorted(yard.git(yard.repo, "ls-tree", "--name-only", "roadmap").splitlines())[:4] == [
        "A.md", "B.md", "C.md", "D.md",
    ]  # fmt: skip
    assert yard.worktrees() == 1


def test_r040_each_command_of_the_flow_keeps_to_its_time(yard, invoke: Invoke, wait_until) -> None:
    """agents and worktrees 5 s at the least, assign 5 s, route 1 s: what the documents grant."""
    add(yard, "A")
    took = {}

    def timed(name: str, **parameters: Any) -> dict[str, Any]:
        began = time.monotonic()
        answer = invoke(name, **parameters)
        took[name] = time.monotonic() - began
        return answer

    timed("create-parallel-tasks", TASKS="A")
    timed("create-worktree", TASK_ID="A")
    pid = timed("spawn-agent-session", TASK_ID="A")["pid"]
    timed("monitor-agent-lifecycle")
    timed("route-inter-agent-messages")
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    timed("merge-completed-work", TASK_ID="A")
    timed("cleanup-worktrees", TASK_ID="A")
    assert {name: round(seconds, 1) for name, seconds in took.items() if seconds > 5} == {}


def test_r199_path_and_branch_stand_in_the_tracker_and_beside_the_assignment(yard, invoke: Invoke, worked) -> None:
    answer = worked("A")
    [tracked] = yard.rows("SELECT worktree_path, branch_name FROM git_worktree_tracker")
    [assigned] = yard.rows("SELECT worktree_path, branch_name FROM orchestrator_task")
    assert tuple(tracked) == tuple(assigned) == (answer["worktree_path"], "roadmap-implementation_task-A")
    assert invoke("merge-completed-work", TASK_ID="A")["success"]
