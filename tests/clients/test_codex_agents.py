"""An unmodified Codex as a worker."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .desk import Desk, Told
from .models import Say, Scenario, Use

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
