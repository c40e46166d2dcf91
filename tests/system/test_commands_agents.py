"""The commands that start, watch, end and restart agents: real processes, one test a requirement (R-097 to R-120)."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from crewyard import ClaudeAgentInvoker
from crewyard.server import clock

Invoke = Callable[..., dict[str, Any]]
CONFIGURATION = """\
[crew]
default_agent = "builder"
restart_backoff_seconds = 1
grace_period_seconds = 2
[agents.builder]
command = ["sh", "-c", "echo x > $CREWYARD_TASK_ID.txt"]
[agents.sleeper]
command = ["sleep", "60"]
[agents.shell]
command = ["sh", "-c", "env > env.txt; pwd > pwd.txt; touch ready; sleep 60"]
[agents.stubborn]
command = ["sh", "-c", "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & touch ready; wait; wait"]
[agents.broken]
command = ["sh", "-c", "exit 3"]
[agents.missing]
command = ["no-such-program"]
[launch]
failed_starts = 100
max_cpu_percent = 100
"""


@pytest.fixture
def invoke(yard) -> Invoke:
    (yard.repo / "crewyard.toml").write_text(CONFIGURATION)

    def call(name: str, **parameters: Any) -> dict[str, Any]:
        return ClaudeAgentInvoker(repo=yard.repo).invoke_command(name, parameters)

    return call


@pytest.fixture
def spawned(yard, invoke: Invoke) -> Iterator[Callable[..., dict[str, Any]]]:
    """``spawned(agent_type, **parameters)``: a running agent on a task of that name; ended with the test."""
    groups = []

    def spawn(agent_type: str, **parameters: Any) -> dict[str, Any]:
        plan(yard, {"task_id": agent_type, "agent_type": agent_type})
        answer = invoke("spawn-agent-session", TASK_ID=agent_type, **parameters)
        assert answer["success"], answer
        groups.append(answer["pid"])
        return answer

    yield spawn
    for pid in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def plan(yard, *tasks: dict[str, Any]) -> None:
    path = yard.plan(*({"agent_type": "builder", **task} for task in tasks))
    done = crewyard(yard, "plan", "import", str(path))
    assert done.returncode == 0, done.stderr


def crewyard(yard, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "crewyard.server.cli", *words, "--repo", str(yard.repo)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environ}, check=False, timeout=60
    )


def agent(yard, agent_id: str) -> Any:
    [row] = yard.rows("SELECT * FROM agent_lifecycle WHERE agent_id = ?", agent_id)
    return row


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def failed(yard, spawned: Any, wait_until: Any) -> dict[str, Any]:
    """An agent whose end another command has taken in."""
    answer: dict[str, Any] = spawned("broken")
    wait_until(lambda: not is_alive(answer["pid"]))
    ClaudeAgentInvoker(repo=yard.repo).invoke_command("kill-stalled-agent", {"ACTION": "kill_stalled"})
    wait_until(lambda: agent(yard, answer["agent_id"])["status"] == "failed")
    return answer


# -------------------------------------------------------------------------------------------- spawn-agent-session


def test_r097_an_agents_program_is_started_recorded_and_outlives_the_command(yard, spawned) -> None:
    answer = spawned("sleeper")
    assert Path(f"/proc/{answer['pid']}/cmdline").read_bytes() == b"sleep\0" + b"60\0"
    row = agent(yard, answer["agent_id"])
    assert (row["status"], row["pid"], row["timeout_seconds"]) == ("running", answer["pid"], 3600)
    assert answer["supervised"] is False
    assert "crewyard start" in answer["next_step"]


def test_r026_r098_the_documents_own_call_at_the_command_line(yard, invoke: Invoke, wait_until) -> None:
    plan(yard, {"task_id": "A"})
    done = crewyard(yard, "command", "spawn-agent-session", "AGENT_TYPE=builder", "TASK_ID=A")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["agent_type"], answer["task_id"]) == ("builder", "A")
    wait_until((Path(answer["worktree_path"]) / "A.txt").exists)


def test_r099_time_limit_restarts_and_instance_are_as_asked_for(yard, invoke, spawned, wait_until) -> None:
    given = {"TIMEOUT_SECONDS": "120", "AUTO_RESTART": "false", "ORCHESTRATOR_INSTANCE_ID": "orch-20260101-001"}
    answer = spawned("broken", **given)
    assert clock.seconds_between(answer["started_at"], answer["expected_completion"]) == 120
    assert agent(yard, answer["agent_id"])["timeout_seconds"] == 120
    wait_until(lambda: not is_alive(answer["pid"]))
    invoke("kill-stalled-agent", ACTION="kill_stalled")
    [work] = yard.rows("SELECT status, orchestrator_instance_id FROM orchestrator_task")
    assert tuple(work) == ("failed", "orch-20260101-001"), "no restart was wanted"


def test_r100_no_agent_without_its_blockers_done_or_beside_another(yard, invoke: Invoke, spawned) -> None:
    plan(yard, {"task_id": "A"}, {"task_id": "B", "depends_on": ["A"]})
    assert invoke("spawn-agent-session", TASK_ID="B")["error"] == "no_available_work"
    (yard.repo / "crewyard.toml").write_text(CONFIGURATION + "min_free_memory_mb = 999999999\n")
    answer = invoke("spawn-agent-session", TASK_ID="A")
    assert (answer["error"], answer["reason"]) == ("resource_exhaustion", "memory")
    assert yard.rows("SELECT * FROM orchestrator_task") == yard.rows("SELECT * FROM agent_lifecycle") == []
    (yard.repo / "crewyard.toml").write_text(CONFIGURATION)
    spawned("sleeper")
    assert invoke("spawn-agent-session", TASK_ID="sleeper", AGENT_TYPE="sleeper")["error"] == "singleton_violation"


def test_r101_a_reserved_task_gets_its_session_and_is_running(yard, invoke: Invoke, wait_until) -> None:
    plan(yard, {"task_id": "A", "agent_type": "shell"})
    [reserved] = invoke("create-parallel-tasks", TASKS="A")["created_tasks"]
    answer = invoke("spawn-agent-session", TASK_ID="A")
    work = Path(answer["worktree_path"])
    wait_until((work / "ready").exists)
    environ = (work / "env.txt").read_text()
    assert "CREWYARD_TASK_ID=A\n" in environ
    assert f"CREWYARD_AGENT_ID={answer['agent_id']}\n" in environ
    assert Path(agent(yard, answer["agent_id"])["run_dir"]).is_dir()
    [row] = yard.rows("SELECT * FROM orchestrator_task")
    assert (row["orchestrator_task_id"], row["status"], row["assigned_agent"]) == (
        reserved["orchestrator_id"], "running", answer["agent_id"],
    )  # fmt: skip
    assert row["started_at"] is not None
    os.killpg(answer["pid"], signal.SIGKILL)


def test_r102_the_answer_names_the_agent_its_process_and_when_it_is_over(yard, spawned) -> None:
    answer = spawned("sleeper")
    today = clock.now()[:10].replace("-", "")
    assert answer["agent_id"] == f"sleeper-{today}-001"
    assert (answer["status"], answer["task_id"], answer["agent_type"]) == ("running", "sleeper", "sleeper")
    assert answer["created_at"] <= answer["started_at"] < answer["expected_completion"]
    assert is_alive(answer["pid"])


def test_r103_each_refusal_has_its_code_and_facts(invoke: Invoke, spawned, yard) -> None:
    first = spawned("sleeper")
    again = invoke("spawn-agent-session", TASK_ID="sleeper")
    assert (again["error"], again["pid"], again["agent_id"]) == ("singleton_violation", first["pid"], first["agent_id"])
    assert invoke("spawn-agent-session", TASK_ID="nothing")["error"] == "task_not_found"
    plan(yard, {"task_id": "A"})
    assert invoke("spawn-agent-session", TASK_ID="A", AGENT_TYPE="missing")["success"] is False
    assert yard.rows("SELECT status FROM specs_task WHERE task_id = 'A'")[0][0] == "ready", "and nothing was changed"


def test_r104_a_silent_agent_is_stalled_after_the_time_that_is_set_or_given(
    invoke: Invoke, spawned, wait_until
) -> None:
    answer = spawned("sleeper")
    check = {"ACTION": "check_agent", "AGENT_ID": answer["agent_id"]}
    assert invoke("monitor-agent-lifecycle", **check)["health_status"] == "healthy"
    wait_until(
        lambda: (
            invoke("monitor-agent-lifecycle", HEARTBEAT_TIMEOUT_SECONDS="0.5", **check)["health_status"] == "stalled"
        )
    )


# ---------------------------------------------------------------------------------------- monitor-agent-lifecycle


def test_r105_r107_each_agent_is_measured_classified_and_kept(yard, invoke: Invoke, spawned) -> None:
    answer = spawned("sleeper")
    seen = invoke("monitor-agent-lifecycle")
    assert (seen["action"], seen["agents_checked"], seen["agents_healthy"]) == ("check_all", 1, 1)
    [one] = seen["agents"]
    assert (one["agent_id"], one["pid"], one["process_alive"]) == (answer["agent_id"], answer["pid"], True)
    assert one["memory_mb"] > 0
    row = agent(yard, answer["agent_id"])
    assert round(row["memory_mb"], 1) == one["memory_mb"]
    os.killpg(answer["pid"], signal.SIGKILL)
    os.kill(row["runner_pid"], signal.SIGKILL)
    dead = invoke("monitor-agent-lifecycle")
    assert (dead["agents_dead"], dead["health_status"], dead["agents"][0]["health_status"]) == (1, "critical", "dead")


def test_r106_the_limits_are_parameters(invoke: Invoke, spawned, wait_until) -> None:
    spawned("sleeper")
    seen = invoke(
        "monitor-agent-lifecycle", CHECK_INTERVAL_SECONDS="7", MEMORY_THRESHOLD_MB="5000", CPU_THRESHOLD_PERCENT="99"
    )
    assert (seen["next_check_in_seconds"], seen["agents"][0]["idle"]) == (7, True)
    assert invoke("monitor-agent-lifecycle", MEMORY_THRESHOLD_MB="0.001")["agents"][0]["idle"] is False
    wait_until(lambda: invoke("monitor-agent-lifecycle", HEARTBEAT_TIMEOUT_SECONDS="0.5")["agents_stalled"] == 1)


def test_r108_one_agent_with_its_uptime_and_a_heartbeat_that_is_due_in_a_minute(yard, invoke: Invoke, spawned) -> None:
    agent_id = spawned("sleeper")["agent_id"]
    assert invoke("monitor-agent-lifecycle", ACTION="check_agent", AGENT_ID=agent_id)["uptime_seconds"] > 0
    beat = invoke("monitor-agent-lifecycle", ACTION="heartbeat", AGENT_ID=agent_id)
    assert agent(yard, agent_id)["last_heartbeat"] == beat["last_heartbeat"]
    assert clock.seconds_between(beat["last_heartbeat"], beat["next_heartbeat_due"]) == 60


def test_r109_what_has_ended_has_a_follow_up_and_each_look_is_recorded_in_time(
    yard, invoke: Invoke, spawned, wait_until
) -> None:
    agent_id = failed(yard, spawned, wait_until)["agent_id"]
    began = time.monotonic()
    seen = invoke("monitor-agent-lifecycle", ACTION="check_agent", AGENT_ID=agent_id)
    assert time.monotonic() - began < 5
    assert (seen["health_status"], seen["follow_up"].split(":")[0]) == ("failed", "log and investigate")
    looks = yard.rows("SELECT * FROM event WHERE subject_id = 'monitor-agent-lifecycle' AND kind = 'invoked'")
    assert len(looks) == 1
    assert invoke("monitor-agent-lifecycle", ACTION="check_agent", AGENT_ID="nobody")["error"] == "agent_not_found"


def test_r110_a_look_never_writes_the_heartbeat_of_the_agent(yard, invoke: Invoke, spawned) -> None:
    agent_id = spawned("sleeper")["agent_id"]
    before = agent(yard, agent_id)["last_heartbeat"]
    invoke("monitor-agent-lifecycle", HEARTBEAT_TIMEOUT_SECONDS="0.001")
    invoke("monitor-agent-lifecycle", ACTION="check_agent", AGENT_ID=agent_id)
    assert agent(yard, agent_id)["last_heartbeat"] == before


# --------------------------------------------------------------------------------------------- kill-stalled-agent


def test_r111_r113_an_agent_is_asked_to_end_and_its_worktree_goes_where_nothing_is_in_it(
    yard, invoke: Invoke, spawned
) -> None:
    answer = spawned("sleeper")
    killed = invoke("kill-stalled-agent", AGENT_ID=answer["agent_id"])
    assert not is_alive(answer["pid"])
    facts = ("action", "pid", "kill_signal", "killed_gracefully", "task_id", "worktree")
    assert {key: killed[key] for key in facts} == {
        "action": "graceful_kill", "pid": answer["pid"], "kill_signal": "SIGTERM", "killed_gracefully": True,
        "task_id": "sleeper", "worktree": "removed",
    }  # fmt: skip
    assert killed["killed_at"] == agent(yard, answer["agent_id"])["completed_at"]
    assert not Path(answer["worktree_path"]).exists()


def test_r111_work_in_the_worktree_of_a_killed_agent_is_kept(invoke: Invoke, spawned, wait_until) -> None:
    answer = spawned("shell")
    wait_until((Path(answer["worktree_path"]) / "ready").exists)
    killed = invoke("kill-stalled-agent", AGENT_ID=answer["agent_id"])
    assert killed["worktree"].startswith("kept")
    assert (Path(answer["worktree_path"]) / "pwd.txt").exists()


def test_r112_r114_who_ignores_being_asked_is_killed_with_all_that_it_started(
    yard, invoke: Invoke, spawned, wait_until
) -> None:
    answer = spawned("stubborn")
    wait_until((Path(answer["worktree_path"]) / "ready").exists)
    killed = invoke("kill-stalled-agent", AGENT_ID=answer["agent_id"], GRACE_PERIOD_SECONDS="0.3", CLEANUP="false")
    assert (killed["kill_signal"], killed["killed_gracefully"], killed["worktree"]) == ("SIGKILL", False, "kept")
    wait_until(lambda: not yard.processes(), 5)
    row = agent(yard, answer["agent_id"])
    assert (row["status"], row["kill_reason"]) == ("killed", "killed by lead")
    assert row["completed_at"] is not None
    [work] = yard.rows("SELECT status, error_message FROM orchestrator_task")
    assert tuple(work) == ("failed", "killed by lead")


def test_r112_force_kills_at_once_and_all_that_are_stalled_are_killed_together(
    yard, invoke: Invoke, spawned, wait_until
) -> None:
    forced = spawned("stubborn")
    wait_until((Path(forced["worktree_path"]) / "ready").exists)
    assert invoke("kill-stalled-agent", AGENT_ID=forced["agent_id"], FORCE_KILL="true")["action"] == "force_kill"
    silent = spawned("sleeper")
    assert invoke("kill-stalled-agent", ACTION="kill_stalled")["agents_killed"] == 0
    wait_until(lambda: invoke("monitor-agent-lifecycle", HEARTBEAT_TIMEOUT_SECONDS="0.5")["agents_stalled"] == 1)
    done = invoke("kill-stalled-agent", ACTION="kill_stalled", HEARTBEAT_TIMEOUT_SECONDS="0.5")
    [killed] = done["killed_agents"]
    assert (killed["agent_id"], killed["seconds_since_heartbeat"] >= 0.5) == (silent["agent_id"], True)
    assert not is_alive(silent["pid"])
    assert yard.rows("SELECT status FROM orchestrator_task WHERE task_id = 'sleeper'")[0][0] == "assigned"


def test_r115_each_refusal_has_its_code(invoke: Invoke, spawned) -> None:
    agent_id = spawned("sleeper")["agent_id"]
    assert invoke("kill-stalled-agent", AGENT_ID="nobody")["error"] == "agent_not_found"
    invoke("kill-stalled-agent", AGENT_ID=agent_id)
    assert invoke("kill-stalled-agent", AGENT_ID=agent_id)["error"] == "process_not_found"


# --------------------------------------------------------------------------------------------- auto-restart-agent


def test_r116_r119_r120_a_failed_agent_gets_a_successor_after_its_delay_and_its_row_stays(
    yard, invoke: Invoke, spawned, wait_until
) -> None:
    old = failed(yard, spawned, wait_until)["agent_id"]
    answer = invoke("auto-restart-agent", AGENT_ID=old)
    new = agent(yard, answer["new_agent_id"])
    assert clock.seconds_between(agent(yard, old)["completed_at"], new["created_at"]) >= 1
    assert (answer["retry_count"], answer["backoff_seconds"], answer["max_retries"]) == (1, 1, 3)
    assert (agent(yard, old)["status"], new["attempt"]) == ("failed", 2)
    [log] = yard.rows("SELECT agent_id, new_agent_id FROM agent_restart_log WHERE new_agent_id IS NOT NULL")
    assert tuple(log) == (old, answer["new_agent_id"])


def test_r117_delays_and_bounds_are_parameters(yard, invoke: Invoke, spawned, wait_until) -> None:
    agent_id = failed(yard, spawned, wait_until)["agent_id"]
    later = invoke("auto-restart-agent", AGENT_ID=agent_id, INITIAL_BACKOFF_SECONDS="500", MAX_BACKOFF_SECONDS="100")
    assert (later["new_agent_id"], later["backoff_seconds"]) == (None, 100)
    assert 90 < later["restarting_in_seconds"] <= 100
    assert invoke("auto-restart-agent", AGENT_ID=agent_id, MAX_RETRIES="0")["error"] == "max_retries_exceeded"
    done = invoke("auto-restart-agent", ACTION="restart_all_failed")
    assert [(each["task_id"], each["restarting_in_seconds"]) for each in done["agents_scheduled"]] == [("broken", 0)]
    assert len(yard.rows("SELECT * FROM agent_lifecycle")) == 2


def test_r118_what_trying_again_does_not_mend_is_refused(yard, invoke: Invoke, spawned, wait_until) -> None:
    agent_id = failed(yard, spawned, wait_until)["agent_id"]
    invoke("coordinate-dependencies", TASK_ID="broken", NEW_STATUS="ready")
    status = invoke("auto-restart-agent", ACTION="check_status", AGENT_ID=agent_id)
    assert (status["can_retry"], status["retry_count"]) == (True, 1)
    assert "exit code 3" in status["last_failure"]
    invoke("auto-restart-agent", AGENT_ID=agent_id, MAX_RETRIES="1", INITIAL_BACKOFF_SECONDS="0")

    def given_up() -> bool:
        invoke("kill-stalled-agent", ACTION="kill_stalled")
        return bool(yard.rows("SELECT status FROM specs_task")[0][0] == "failed")

    wait_until(given_up)
    assert invoke("auto-restart-agent", AGENT_ID=agent_id)["error"] == "max_retries_exceeded"
    assert invoke("auto-restart-agent", ACTION="check_status", AGENT_ID=agent_id)["can_retry"] is False


# ------------------------------------------------------------------------------------------- who may, and from where


def test_an_agent_has_no_commands_and_its_asking_is_recorded(yard, invoke: Invoke, spawned, wait_until) -> None:
    answer = spawned("shell")
    work = Path(answer["worktree_path"])
    wait_until((work / "ready").exists)
    environ = dict(line.split("=", 1) for line in (work / "env.txt").read_text().splitlines() if "=" in line)
    mine = {key: value for key, value in environ.items() if key.startswith("CREWYARD_")}
    asked = {"AGENT_ID": answer["agent_id"]}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in mine.items():
            patch.setenv(key, value)
        assert invoke("kill-stalled-agent", **asked)["error"] == "not_authorized"
    done = crewyard(yard, "command", "kill-stalled-agent", f"AGENT_ID={answer['agent_id']}", **mine)
    assert done.returncode != 0
    assert is_alive(answer["pid"])
    events = yard.rows("SELECT actor, data FROM event WHERE kind = 'not_authorized' ORDER BY event_id")
    assert [row["actor"] for row in events] == [answer["agent_id"]] * 2
    assert json.loads(events[0]["data"])["asked"] == "kill-stalled-agent"


def test_a_command_launches_nobody_who_was_not_asked_for(yard, invoke: Invoke, wait_until) -> None:
    running = yard.start(yard.gated_plan())
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE status = 'running'"))
    running.process.kill()
    running.process.wait()
    yard.open_gate()
    wait_until(lambda: not yard.processes())
    assert invoke("create-worktree", TASK_ID="B")["success"]
    assert len(yard.rows("SELECT * FROM agent_lifecycle")) == 1
    assert yard.rows("SELECT status FROM specs_task WHERE task_id = 'B'")[0][0] == "pending"


def test_r025_a_command_may_be_invoked_within_a_running_event_loop(yard, invoke: Invoke) -> None:
    plan(yard, {"task_id": "A"})

    async def inside() -> dict[str, Any]:
        return invoke("find-available-work", MAX_PARALLEL="4")

    assert [each["task_id"] for each in anyio.run(inside)["available_tasks"]] == ["A"]


def test_commands_are_listed_described_and_refused_at_the_command_line(yard, invoke: Invoke) -> None:
    listed = crewyard(yard, "command")
    assert listed.returncode == 0
    assert listed.stdout.count("\n  ") == 15
    described = crewyard(yard, "command", "create-worktree", "--describe")
    assert "BASE_BRANCH (text" in described.stdout
    refused = crewyard(yard, "command", "find-available-work", "MAX_PARALEL=4")
    assert (refused.returncode, json.loads(refused.stdout)["error"]) == (1, "invalid_input")
    assert crewyard(yard, "command", "create-worktree", "TASK_ID").returncode == 2
