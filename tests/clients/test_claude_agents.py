"""An unmodified Claude Code as lead and as workers: side by side, at a limit, killed, with a question, logged out."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .desk import Desk, Told
from .models import Again, Part, Refuse, Say, Scenario, Use
from .test_lead import tidied_up

CLAUDES = ["claude", "claude-330"]
CLAUDE = """\
[agents.coder]
kind = "claude"
environment = ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER"]
[health]
warn_after_seconds = 2.0  # its runner notes signs of life four times as often
"""
DONE = Use("report", action="complete", summary="It is written.")


def task(name: str, *, priority: int) -> dict[str, Any]:
    check = ["sh", "-c", f"test -s {name}.txt"]
    return {"task_id": name, "agent_type": "coder", "title": f"Write {name}", "priority": priority, "check": check}


def shell(command: str) -> Use:
    return Use("Bash", command=command, description="work")


def write(name: str, text: str) -> list[Part]:
    """Its file, the commit, and the check, word for word."""
    return [shell(f"echo {text} > {name}.txt"), shell(f"git add -A && git commit -m 'Write {name}'"),
            shell(f"test -s {name}.txt")]  # fmt: skip


@pytest.fixture
def crew(yard: Any) -> Any:
    yard.configure(CLAUDE)
    return yard


def run(yard: Any, desk: Desk, plan: Any, **environment: str) -> Told:
    command = ("crewyard", "run", str(plan), "--repo", str(yard.repo), "--json", "--max-parallel", "2")
    return desk.run(*command, at=yard.repo, seconds=400, **environment)


def agents(yard: Any, task_id: str) -> list[Any]:
    return list(yard.rows("SELECT * FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid", task_id))


def asked(desk: Desk, title: str) -> list[Any]:
    """The requests of the conversation about a task, as text."""
    return [json.dumps(each.messages) for each in desk.models.requests if each.tools and f"Task {title}:" in each.said]


def questions(results: list[Any]) -> list[str]:
    """Who has asked something, by the lead's mail."""
    mail = [each for result in results if isinstance(result, dict) for each in result.get("messages") or ()]
    return re.findall(r"coder-\d{8}-\d{3}(?= asks)", json.dumps(mail))


def lead(yard: Any, plan: Path) -> Scenario:
    """Brings the plan in, has it worked off, answers what is asked, and stays until all is merged and tidied up."""
    answer = {"message_type": "answer", "content": "blue"}
    return Scenario(
        "work off the plan",
        [
            [Use("plan", action="import", path=str(plan))],
            [Use("assign", max_parallel=2)],
            Again(Use("route", action="poll", wait_seconds=5), until=lambda results: bool(questions(results))),
            lambda results: [Use("route", action="send", target_agent=questions(results)[0], **answer)],
            Again(
                Use("route", action="poll", wait_seconds=2),
                Use("plan", action="show"),
                until=lambda results: results[-1]["counts"].get("completed") == 3,
            ),
            lambda _: tidied_up(yard, Say("All is merged.")),
        ],
    )


@pytest.mark.parametrize("claude", CLAUDES)
def test_a_lead_and_two_workers_finish_a_plan_past_a_limit_a_kill_and_a_question(
    crew: Any, sit: Callable[..., Desk], claude: str
) -> None:
    over = int(time.time()) + 40
    unified = "anthropic-ratelimit-unified"
    refused = {f"{unified}-status": "rejected", f"{unified}-reset": str(over)}
    refused[f"{unified}-representative-claim"] = "five_hour"
    limit = Refuse(429, "This request would exceed your account's rate limit.", headers=refused, times=1)
    gone = threading.Event()

    def die(results: list[Any]) -> list[Part]:
        if not gone.is_set():
            os.kill(agents(crew, "killed")[0]["pid"], signal.SIGKILL)
            gone.set()
        return write("killed", "again")

    def answers(results: list[Any]) -> list[str]:
        mail = [each for result in results if isinstance(result, dict) for each in result.get("messages") or ()]
        return [each["content"] for each in mail if each["message_type"] == "answer"]

    ask = [Use("report", action="question", summary="Which colour?")]
    wait = Again(Use("route", action="poll", wait_seconds=5), until=lambda results: bool(answers(results)))
    plan = crew.plan(task("limited", priority=1), task("killed", priority=2), task("asking", priority=3))
    desk = sit(
        lead(crew, plan),
        Scenario(
            "Task limited:", [[shell("echo half > half.txt")], limit, write("limited", "x"), [DONE], [Say("So.")]]
        ),
        Scenario("Task killed:", [[shell("echo part > part.txt")], die, [DONE], [Say("So.")]]),
        Scenario(
            "Task asking:",
            [ask, wait, lambda results: write("asking", *answers(results)), [DONE], [Say("So.")]],
        ),
        claude=claude,
    )
    # A limit with a reset is one of a subscription.
    desk.environment.pop("ANTHROPIC_API_KEY")
    desk.environment["CLAUDE_CODE_OAUTH_TOKEN"] = "none"
    handed_on = {"CLAUDE_CODE_OAUTH_TOKEN": "none"}  # Claude Code keeps it from the servers that it starts

    told = desk.ask_claude("work off the plan", *desk.strictly(crew.repo, env=handed_on), at=crew.repo, seconds=200)

    assert told.code == 0, told.out + told.err
    assert told.line(type="result")["result"] == "All is merged."
    for name, text in (("limited", "x"), ("killed", "again"), ("asking", "blue")):
        assert crew.at_roadmap(f"{name}.txt") == text
    # The limit: nobody is started until it is over, and the conversation goes on.
    [stopped, resumed] = agents(crew, "limited")
    assert (stopped["status"], stopped["session_id"]) == ("failed", resumed["session_id"])
    [held] = crew.rows(
        "SELECT json_extract(data, '$.until') AS until FROM event WHERE kind = 'launches_held' AND subject_id = 'coder'"
    )
    assert held["until"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(over)))
    assert resumed["created_at"] >= held["until"]
    assert not crew.rows(
        "SELECT 1 FROM agent_lifecycle WHERE created_at > ? AND created_at < ?", stopped["completed_at"], held["until"]
    )
    assert "half.txt" in asked(desk, "limited")[-1]
    # The kill: the program's own conversation is taken up, and the model sees what it did before.
    [killed, again] = agents(crew, "killed")
    assert (killed["exit_signal"], killed["session_id"]) == (signal.SIGKILL, again["session_id"])
    assert "part.txt" in asked(desk, "killed")[-1]
    # What it wrote counted as a sign of life, and what it used is known.
    assert all(row["last_output_at"] and row["input_tokens"] for row in (resumed, again, agents(crew, "asking")[-1]))
    # What a conversation had cost before it was resumed is counted once.
    paid = crew.rows("SELECT cost_usd / output_tokens AS price FROM agent_lifecycle WHERE cost_usd > 0")
    assert [row["price"] for row in paid] == [pytest.approx(paid[0]["price"])] * 4
    assert crew.worktrees() == 1
    assert crew.processes() == []


def test_one_that_is_not_logged_in_holds_the_plan_and_says_so(
    crew: Any, sit: Callable[..., Desk], wait_until: Callable[..., float]
) -> None:
    desk = sit(Scenario("Task", [write("one", "x"), [DONE], [Say("So.")]]))
    desk.environment.pop("ANTHROPIC_API_KEY")
    plan = crew.plan(task("one", priority=1), task("two", priority=2), task("three", priority=3))
    ended: list[Told] = []
    working = threading.Thread(target=lambda: ended.append(run(crew, desk, plan)))
    working.start()
    try:
        wait_until(lambda: crew.holds("SELECT 1 FROM launch_hold WHERE message LIKE '%Not logged in%'"), seconds=120)
    finally:
        stopped = desk.run("crewyard", "stop", "--repo", str(crew.repo), at=crew.repo)
        working.join()

    assert stopped.code == 0, stopped.err
    assert not [row for row in crew.rows("SELECT * FROM specs_task") if row["status"] in ("failed", "completed")]
    assert len(crew.rows("SELECT 1 FROM agent_lifecycle WHERE runner_pid IS NOT NULL")) <= 2, "those that ran already"
    assert desk.models.requests == []
