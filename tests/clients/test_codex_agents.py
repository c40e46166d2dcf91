"""An unmodified Codex as a worker: its sandbox, its thread, its limits."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .desk import Desk, Told
from .models import Part, Refuse, Say, Scenario, Use

# Without /tmp, below which the tests' repositories lie, its sandbox is the worktree, as for any other repository.
CODEX = """\
[agents.coder]
kind = "codex"
environment = ["OPENAI_API_KEY"]
arguments = ["-c", "sandbox_workspace_write.exclude_slash_tmp=true"]
[merge]
check = ["test", "-s", "greeting.txt"]
"""
TASK = {"task_id": "A", "agent_type": "coder", "title": "Write a greeting", "files": ["greeting.txt"]}


def shell(command: str) -> Use:
    return Use("exec_command", cmd=command, yield_time_ms=20_000)


WRITE = shell("echo hello > greeting.txt")
DONE = [Use("report", action="complete", summary="The greeting is there.")]


@pytest.fixture
def crew(yard: Any) -> Any:
    yard.configure(CODEX)
    return yard


def run(yard: Any, desk: Desk, plan: Path) -> Told:
    return desk.run("crewyard", "run", str(plan), "--repo", str(yard.repo), "--json", at=yard.repo, seconds=240)


def agents(yard: Any) -> list[Any]:
    return list(yard.rows("SELECT * FROM agent_lifecycle ORDER BY rowid"))


def heard_by(desk: Desk) -> str:
    """All that the last request held of the conversation."""
    return json.dumps(desk.models.requests[-1].messages, ensure_ascii=False)


def test_codex_works_in_its_sandbox_reports_and_is_merged(crew: Any, sit: Callable[..., Desk]) -> None:
    commit = shell("git add -A && git commit -m mine")
    desk = sit(Scenario("Write a greeting", [[WRITE], [commit], DONE, [Say("It is written.")]]))

    done = run(crew, desk, crew.plan(TASK))

    assert done.code == 0, done.err
    assert crew.at_roadmap("greeting.txt") == "hello"
    [agent] = agents(crew)
    assert (agent["status"], agent["kind"]) == ("completed", "codex")
    answers = len(desk.models.requests)
    assert (agent["input_tokens"], agent["output_tokens"]) == (10 * answers, 5 * answers)
    assert crew.rows("SELECT kind, summary FROM agent_report")[0]["summary"] == "The greeting is there."
    assert "what you leave in the files is committed for you" in heard_by(desk)
    assert "index.lock': Read-only file system" in heard_by(desk)
    assert crew.processes() == []


def test_a_killed_codex_goes_on_with_its_thread(
    crew: Any, sit: Callable[..., Desk], wait_until: Callable[..., float]
) -> None:
    go_on = threading.Event()

    def think(results: list[Any]) -> list[Part]:
        go_on.wait(60)
        return [WRITE]

    desk = sit(Scenario("Write a greeting", [[shell("echo half > half.txt")], think, DONE, [Say("It is written.")]]))
    ended: list[Told] = []
    working = threading.Thread(target=lambda: ended.append(run(crew, desk, crew.plan(TASK))))
    working.start()
    try:
        wait_until(lambda: desk.models.requests and len(desk.models.requests[-1].turns) == 1, seconds=60)
        [first] = agents(crew)
        os.killpg(first["pid"], signal.SIGKILL)
        wait_until(lambda: len(agents(crew)) == 2, seconds=60)
    finally:
        go_on.set()
        working.join()

    assert ended[0].code == 0, ended[0].err
    killed, resumed = agents(crew)
    assert killed["session_id"] == resumed["session_id"] is not None
    assert (killed["status"], resumed["status"]) == ("failed", "completed")
    assert "half.txt" in heard_by(desk), "the model was told what it did before"
    assert (crew.at_roadmap("half.txt"), crew.at_roadmap("greeting.txt")) == ("half", "hello")


def test_the_limit_of_the_account_pauses_codex_until_it_is_over(crew: Any, sit: Callable[..., Desk]) -> None:
    over = time.time() + 5
    limit = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "resets_at": int(over)}
    refusal = Refuse(429, body={"error": limit}, times=1)
    desk = sit(Scenario("Write a greeting", [[WRITE], refusal, DONE, [Say("It is written.")]]))

    done = run(crew, desk, crew.plan(TASK))

    assert done.code == 0, done.err
    stopped, resumed = agents(crew)
    assert stopped["session_id"] == resumed["session_id"]
    [until] = crew.rows(
        "SELECT json_extract(data, '$.until') AS until FROM event WHERE kind = 'launches_held' ORDER BY event_id"
    )
    assert until["until"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(over))
    assert resumed["created_at"] >= until["until"]
    assert crew.at_roadmap("greeting.txt") == "hello"
