"""What gets past nobody: silence, limits, programs that do not start, questions, time (issue 3, R-116 to R-120, C-09).

Real runs with real agents; settings scaled down. An agent that is to be silent blocks on a pipe: even a sleep in a loop
uses the CPU, which is a sign of life.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import clock, reports, restarts
from crewyard.server.store import Store

Script = Callable[..., str]
Wait = Callable[..., float]
WATCHFUL = "[health]\ncheck_interval_seconds = 0.1\nwarn_after_seconds = 0.5\nstale_after_seconds = 1\n"


@pytest.fixture(autouse=True)
def whatever_else_the_machine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine holds launches; that has its own tests."""
    monkeypatch.setenv("CREWYARD_LAUNCH_MAX_CPU_PERCENT", "100")


def program(yard, name: str, text: str, *arguments: str, more: str = "") -> str:
    """A type of agent that is a Python program; returns its table. ``note`` appends a line to a file of the test's,
    ``block`` waits for the pipe ``gate`` without using the CPU, ``work`` does the task."""
    path = yard.folder / f"{name}.py"
    path.write_text(
        "import os, sys, time\n"
        f"FOLDER = {str(yard.folder)!r}\n"
        "ATTEMPT, TASK = int(os.environ['CREWYARD_ATTEMPT']), os.environ['CREWYARD_TASK_ID']\n"
        "def note(name, text):\n"
        "    file = os.open(os.path.join(FOLDER, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)\n"
        "    os.write(file, (str(text) + '\\n').encode())\n"
        "def block(): open(os.path.join(FOLDER, 'gate')).read()\n"
        "def work(): open(TASK + '.txt', 'w').write('done')\n" + text
    )
    command = ", ".join(f'"{word}"' for word in (sys.executable, "-I", "-S", str(path), *arguments))
    return f"[agents.{name}]\ncommand = [{command}]\n{more.format(command=command)}"


@pytest.fixture
def gate(yard) -> Callable[[], None]:
    """``gate()`` lets an agent that blocks go on."""
    os.mkfifo(yard.folder / "gate")

    def open_it() -> None:
        os.close(os.open(yard.folder / "gate", os.O_WRONLY))

    return open_it


def alerts(yard, box: str) -> list[tuple[str, str]]:
    sql = (
        "SELECT json_extract(content, '$.level') AS level, json_extract(content, '$.title') AS title "
        "FROM agent_message WHERE to_agent = ? AND message_type = 'alert' ORDER BY id"
    )
    return [(row["level"], row["title"]) for row in yard.rows(sql, box)]


def agents(yard, task_id: str = "A") -> list[Any]:
    found: list[Any] = yard.rows("SELECT * FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid", task_id)
    return found


def events(yard, kind: str) -> list[Any]:
    found: list[Any] = yard.rows("SELECT * FROM event WHERE kind = ? ORDER BY event_id", kind)
    return found


# --------------------------------------------------------------------------------------------------------- silence


def test_r171_a_silent_agent_is_ended_and_another_goes_on_with_its_work(yard, script: Script) -> None:
    yard.configure(f"grace_period_seconds = 0.5\n{WATCHFUL}")
    steps = ("1: write half.txt x", "1: say deep-in-thought", "1: hang", "write done.txt y")
    running = yard.start(yard.plan({"task_id": "A", "description": script(*steps)}))
    assert "no sign of life for 1 s" in running.until("is stalled")
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    first, second = agents(yard)
    assert (first["status"], first["kill_code"], first["exit_signal"]) == ("killed", "agent_stalled", 9)
    assert first["workspace"] == second["workspace"]
    assert (yard.at_roadmap("half.txt"), yard.at_roadmap("done.txt")) == ("x", "y")
    prompt = Path(second["run_dir"], "prompt.md").read_text()
    assert "It was stalled: no sign of life for 1 s" in prompt
    assert "say deep-in-thought" in prompt, "the end of its predecessor's output"
    [log] = yard.rows("SELECT * FROM agent_restart_log")
    assert (log["reason"], log["attempt_number"], log["new_agent_id"]) == ("agent_stalled", 1, second["agent_id"])
    assert alerts(yard, "lead") == [("warning", f"Agent {first['agent_id']} is stalled")]
    assert yard.processes() == []


def test_a_team_is_warned_of_a_silent_agent_and_leaves_it_alone(yard, gate: Any, wait_until: Wait) -> None:
    yard.configure(f'{WATCHFUL}on_stalled = "warn"\n' + program(yard, "thinker", "block(); work()"))
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "thinker"}))
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE health = 'stalled'"))
    [row] = agents(yard)
    assert (row["kill_requested_at"], row["status"]) == (None, "running")
    assert alerts(yard, "lead") == [("warning", f"Agent {row['agent_id']} is stalled")]
    gate()
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert outcome.task("A")["attempts"] == 1
    assert len(events(yard, "agent_stalled")) == 1, "said once"


def test_an_agent_that_writes_now_and_then_is_never_taken_for_stalled(yard, script: Script) -> None:
    """The runner's beat keeps pace with thresholds that are near."""
    yard.configure("[health]\ncheck_interval_seconds = 0.1\nwarn_after_seconds = 1\nstale_after_seconds = 2\n")
    talks = itertools.chain.from_iterable(("say on-it", "sleep 0.2") for _ in range(20))
    outcome = yard.run(yard.plan({"task_id": "A", "description": script(*talks, "write a.txt x")}))
    assert outcome.code == 0, outcome.err
    assert outcome.task("A")["attempts"] == 1
    assert events(yard, "agent_stalled") == []


def test_an_agent_that_waits_for_an_answer_may_be_silent_and_its_question_ends_in_review(
    yard, gate: Any, wait_until: Wait
) -> None:
    yard.configure(WATCHFUL + program(yard, "asker", "block(); sys.exit(1)"))
    running = yard.start(yard.plan({"task_id": "A", "agent_type": "asker"}))
    running.until("A: asker")
    [row] = agents(yard)
    store = Store(yard.repo / "data/orchestrator.db")
    store.run(reports.record, row["agent_id"], "question", "which colour?", now=clock.now())
    asked = clock.now()
    wait_until(lambda: clock.seconds_between(asked, clock.now()) > 1.5)
    wait_until(lambda: yard.holds("SELECT 1 FROM agent_lifecycle WHERE health = 'warning'"))
    gate()
    outcome = running.finish()
    task = outcome.task("A")
    assert (outcome.code, task["status"], task["attempts"]) == (1, "review", 1), "asking again is no answer"
    assert task["error"]["code"] == "non_retryable_error"
    assert "which colour?" in task["error"]["message"]
    assert alerts(yard, "lead") == [("high", f"{row['agent_id']} asks"), ("critical", "Task A needs a person")]
    store.close()


# ------------------------------------------------------------------------------------------- limits and failed starts


def test_a_providers_limit_is_waited_out_and_costs_no_restart(yard) -> None:
    text = (
        "try:\n"
        "    with open(os.path.join(FOLDER, 'reset'), 'x') as file: file.write(str(int(time.time()) + 3))\n"
        "except FileExistsError: pass\n"
        "while not (reset := open(os.path.join(FOLDER, 'reset')).read()): time.sleep(0.01)\n"
        "if time.time() < int(reset):\n"
        "    print('Claude AI usage limit reached|' + reset)\n"
        "    sys.exit(1)\n"
        "work()\n"
    )
    yard.configure(program(yard, "limited", text))
    running = yard.start(yard.plan(*({"task_id": name, "agent_type": "limited"} for name in "ABC")))
    said = running.until("no agents of type limited are started until")
    assert "(quota)" in said
    assert "usage limit reached" in said
    outcome = running.finish()
    assert outcome.code == 0, outcome.err
    assert [row["retry_count"] for row in yard.rows("SELECT retry_count FROM orchestrator_task")] == [0, 0, 0]
    [held] = events(yard, "launches_held")
    reset = int((yard.folder / "reset").read_text())
    later = [row for row in yard.rows("SELECT * FROM agent_lifecycle") if row["status"] == "completed"]
    assert len(later) == 3
    assert all(clock.parse(row["created_at"]).timestamp() >= reset for row in later), "nobody before the limit's end"
    assert "limited are started again (quota)" in outcome.err
    assert {row["reason"] for row in yard.rows("SELECT reason FROM agent_restart_log")} == {"quota"}
    assert alerts(yard, "lead") == [("high", "Limit of limited reached")]
    assert held["subject_id"] == "limited"


def test_a_program_that_dies_at_once_is_not_tried_on_the_whole_plan(yard) -> None:
    yard.configure("[launch]\nfailed_starts_pauses = 3\n" + program(yard, "broken", "sys.exit('no licence')"))
    plan = yard.plan(*({"task_id": f"T{n}", "agent_type": "broken"} for n in range(8)), {"task_id": "sound"})
    outcome = yard.run(plan)
    assert outcome.code == 1
    ends = {task["task_id"]: task for task in outcome.result["tasks"]}
    assert ends.pop("sound")["status"] == "merged", "another type of agent goes on"
    assert {task["status"] for task in ends.values()} == {"review"}
    attempts = sum(task["attempts"] for task in ends.values())
    assert attempts <= 4 + 2 + 4, "those in flight when it was noticed, then one for each of the trials"
    assert "no licence" in ends["T7"]["error"]["message"]
    held = events(yard, "launches_held")
    assert len(held) == 4
    assert ("high", "Agents of type broken fail to start") in alerts(yard, "lead")


def test_one_broken_task_holds_nobody_up(yard, script: Script) -> None:
    good = [{"task_id": f"G{n}", "description": script("sleep 0.2", f"write g{n}.txt x")} for n in range(6)]
    outcome = yard.run(yard.plan({"task_id": "bad", "description": script("fail 9")}, *good), "--max-parallel", "2")
    assert outcome.code == 1
    assert (outcome.task("bad")["status"], outcome.task("bad")["attempts"]) == ("review", 4)
    assert {outcome.task(task["task_id"])["status"] for task in good} == {"merged"}
    assert events(yard, "launches_held") == []


def test_a_machine_without_room_starts_nobody_and_says_so(yard) -> None:
    yard.configure("[launch]\nmin_free_memory_mb = 1000000000\n")
    running = yard.start(yard.plan({"task_id": "A"}))
    assert "(memory)" in running.until("no agents are started")
    running.interrupt()
    assert running.finish().code == 130
    assert agents(yard) == []


# ------------------------------------------------------------------------------------------------ restarts and bounds


def test_a_program_that_can_resume_its_conversation_does_unless_that_fails_at_once(yard) -> None:
    text = "note('starts', ' '.join(sys.argv[1:]))\nif ATTEMPT < 3: sys.exit(1)\nwork()\n"
    more = "resume_command = [{command}]\n"
    table = program(yard, "talker", text, "begin", "{session_id}", more=more)
    command, _, resume = table.partition("resume_command")
    yard.configure(command + "resume_command" + resume.replace('"begin"', '"resume"'))
    outcome = yard.run(yard.plan({"task_id": "A", "agent_type": "talker"}))
    assert outcome.code == 0, outcome.err
    starts = [line.split() for line in (yard.folder / "starts").read_text().splitlines()]
    assert [how for how, _ in starts] == ["begin", "resume", "begin"]
    first, second, third = (session for _, session in starts)
    assert first == second != third


def test_who_runs_out_of_time_gets_longer_and_two_more_tries(yard, script: Script) -> None:
    yard.configure("[agents.slow]\nkind = 'scripted'\ntimeout_seconds = 0.5\n")
    plan = yard.plan(
        {"task_id": "never", "agent_type": "slow", "description": script("sleep 600")},
        {"task_id": "late", "agent_type": "slow", "description": script("sleep 1.2", "write late.txt x")},
    )
    outcome = yard.run(plan)
    assert outcome.code == 1
    assert (outcome.task("never")["status"], outcome.task("never")["attempts"]) == ("review", 3)
    assert [row["timeout_seconds"] for row in agents(yard, "never")] == [0.5, 1, 2]
    assert [row["status"] for row in agents(yard, "late")] == ["timeout", "timeout", "completed"]
    assert yard.at_roadmap("late.txt") == "x"


def test_restarts_are_counted_on_over_a_killed_run(
    yard, script: Script, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWYARD_CREW_RESTART_BACKOFF_SECONDS", "0.4")
    plan = yard.plan({"task_id": "A", "description": script("fail 3")})
    first = yard.start(plan)
    wait_until(lambda: yard.holds("SELECT 1 FROM orchestrator_task WHERE retry_count = 2 AND status = 'assigned'"))
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    outcome = yard.run(plan)
    assert (outcome.code, outcome.task("A")["status"], outcome.task("A")["attempts"]) == (1, "review", 4)
    log = yard.rows("SELECT attempt_number, backoff_seconds FROM agent_restart_log ORDER BY restart_id")
    assert [tuple(row) for row in log] == [(1, 0.4), (2, 0.8), (3, 1.6)]


def test_launches_of_one_task_are_bounded_whatever_ends_them(yard, script: Script) -> None:
    yard.configure("max_restarts = 100\n[launch]\nmax_per_task = 2\n")
    outcome = yard.run(yard.plan({"task_id": "A", "description": script("sleep 0.1", "crash")}))
    assert (outcome.code, outcome.task("A")["status"], outcome.task("A")["attempts"]) == (1, "review", 2)


def test_a_restart_that_a_killed_server_recorded_is_carried_out_by_the_next(yard, gate: Any, wait_until: Wait) -> None:
    yard.configure("grace_period_seconds = 0.5\n" + program(yard, "worker", "block() if ATTEMPT == 1 else work()"))
    plan = yard.plan({"task_id": "A", "agent_type": "worker"})
    first = yard.start(plan)
    first.until("A: worker")
    first.process.kill()
    first.process.wait()
    [row] = agents(yard)
    store = Store(yard.repo / "data/orchestrator.db")
    asked = store.run(restarts.of_agent, row["agent_id"], force=False, grace_seconds=0.5, now=clock.now(), actor="lead")
    assert store.read(restarts.standing, asked, now=clock.now()).new_agent is None
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    old, new = agents(yard)
    assert (old["status"], new["status"]) == ("killed", "completed")
    standing = store.read(restarts.standing, asked, now=clock.now())
    assert (standing.new_agent["agent_id"], standing.attempt) == (new["agent_id"], 2)
    [work] = yard.rows("SELECT * FROM orchestrator_task")
    assert work["retry_count"] == 0, "by hand: no failure"
    store.close()


def test_a_task_in_review_is_taken_up_again_in_its_worktree_and_told_why(yard, wait_until: Wait) -> None:
    text = "if ATTEMPT == 1:\n    open('half.txt', 'w').write('x')\n    sys.exit('the-word-it-died-with')\nwork()\n"
    yard.configure("max_restarts = 0\n" + program(yard, "worker", text))
    plan = yard.plan({"task_id": "A", "agent_type": "worker"})
    assert yard.run(plan).task("A")["status"] == "review"
    [first] = agents(yard)
    store = Store(yard.repo / "data/orchestrator.db")
    store.run(restarts.of_agent, first["agent_id"], force=True, grace_seconds=1, now=clock.now(), actor="lead")
    store.close()
    outcome = yard.run(plan)
    assert outcome.code == 0, outcome.err
    _, second = agents(yard)
    assert first["workspace"] == second["workspace"]
    assert "the-word-it-died-with" in Path(second["run_dir"], "prompt.md").read_text()
    assert yard.at_roadmap("half.txt") == "x"
