"""Unmodified clients as the lead: Claude Code of both protocol eras, and Codex."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from yards import wait_until

from .desk import Desk
from .models import Again, Part, Say, Scenario, Use

CLAUDES = ["claude", "claude-330"]
# It writes the file that its task is called after.
WRITER = '[agents.writer]\ncommand = ["sh", "-c", "echo done > $CREWYARD_TASK_ID.txt"]\n'


@pytest.fixture
def three_tasks(yard: Any) -> Path:
    """A and B side by side, then C."""
    yard.configure(WRITER)
    tasks = [{"task_id": "A"}, {"task_id": "B"}, {"task_id": "C", "depends_on": ["A", "B"]}]
    path: Path = yard.plan(*({**task, "agent_type": "writer"} for task in tasks))
    return path


def tidied_up(yard: Any, *parts: Part) -> Sequence[Part]:
    wait_until(lambda: yard.worktrees() == 1)
    return parts


def work_off(yard: Any, plan: Path) -> Scenario:
    """What a lead does from a plan to the end of it."""
    return Scenario(
        "work off the plan",
        [
            [Say("I bring it in."), Use("plan", action="import", path=str(plan))],
            [Use("assign")],
            Again(
                Use("route", action="poll", wait_seconds=1),
                Use("agents", action="list"),
                Use("worktrees", action="queue"),
                Use("plan", action="show"),
                until=lambda results: set(results[-1]["counts"].items()) >= {("completed", 3)},
            ),
            # What is tidied up behind the last merge is the server's work as well, which ends with its client.
            lambda results: tidied_up(yard, Use("why", subject=results[1]["dispatch_id"])),
            lambda results: [Say(results[-1]["because"])],
        ],
    )


def is_worked_off(yard: Any) -> None:
    assert {name: yard.at_roadmap(f"{name}.txt") for name in "ABC"} == dict.fromkeys("ABC", "done")
    assert yard.worktrees() == 1
    assert yard.processes() == []


@pytest.mark.parametrize("claude", CLAUDES)
def test_claude_code_connects_and_calls_the_tools(yard: Any, sit: Callable[..., Desk], claude: str) -> None:
    looks = [[Use("plan", action="show")], [Use("why", subject="nothing of that name")], [Say("That is all.")]]
    desk = sit(Scenario("look around", looks), claude=claude)

    told = desk.ask_claude("look around", *desk.strictly(yard.repo), at=yard.repo)

    assert told.code == 0, told.err
    [server] = told.line(type="system", subtype="init")["mcp_servers"]
    assert (server["name"], server["status"]) == ("crewyard", "connected")
    assert told.line(type="result")["result"] == "That is all."
    shown, refused = desk.models.requests[-1].results
    assert (shown["status"], shown["tasks"]) == ("success", [])
    assert (refused["code"], "plan(action='show')" in refused["hint"]) == ("not_found", True)


@pytest.mark.parametrize("claude", CLAUDES)
def test_claude_code_takes_a_plan_from_its_import_to_all_merged(
    yard: Any, sit: Callable[..., Desk], three_tasks: Path, claude: str
) -> None:
    desk = sit(work_off(yard, three_tasks), claude=claude)

    told = desk.ask_claude("work off the plan", *desk.strictly(yard.repo), at=yard.repo)

    assert told.code == 0, told.err
    assert "completed" in told.line(type="result")["result"]
    is_worked_off(yard)


@pytest.mark.parametrize("claude", CLAUDES)
def test_claude_code_reads_our_resources(yard: Any, sit: Callable[..., Desk], claude: str) -> None:
    reads = [[Use("ReadMcpResourceTool", server="crewyard", uri="crewyard://status")], [Say("Read.")]]
    desk = sit(Scenario("how does it stand", reads), claude=claude)
    allowed = ("--allowedTools", "ReadMcpResourceTool")

    told = desk.ask_claude("how does it stand", *desk.strictly(yard.repo), *allowed, at=yard.repo)

    assert told.code == 0, told.err
    [read] = desk.models.requests[-1].results
    [content] = read["contents"]
    assert content["uri"] == "crewyard://status"
    assert json.loads(content["text"])["tasks"]["ready"] == 0


@pytest.mark.parametrize(
    ("claude", "scope"), [("claude", "local"), ("claude", "project"), ("claude-330", "user"), ("claude-330", "project")]
)
def test_one_line_adds_the_server_to_claude_code(yard: Any, sit: Callable[..., Desk], claude: str, scope: str) -> None:
    desk = sit(Scenario("look around", [[Use("plan", action="show")], [Say("Seen.")]]), claude=claude)

    added = desk.run("claude", "mcp", "add", "--scope", scope, "crewyard", "--", "crewyard", "serve", at=yard.repo)
    assert added.code == 0, added.err
    listed = desk.run("claude", "mcp", "list", at=yard.repo)
    told = desk.ask_claude("look around", at=yard.repo)

    # What a project brings along waits for a person's word before it is started by `list`, but `-p` takes it.
    assert ("Pending approval" if scope == "project" else "Connected") in listed.out, listed.out + listed.err
    assert told.line(type="result")["result"] == "Seen."
    assert desk.models.requests[-1].results[0]["status"] == "success"


def test_codex_takes_a_plan_from_its_import_to_all_merged(
    yard: Any, sit: Callable[..., Desk], three_tasks: Path
) -> None:
    desk = sit(work_off(yard, three_tasks))
    added = desk.run("codex", "mcp", "add", "crewyard", "--", "crewyard", "serve", at=yard.repo)
    assert added.code == 0, added.err
    configuration = desk.folder / "home/.codex/config.toml"
    table = "[mcp_servers.crewyard]\n"
    assert table in configuration.read_text()
    # Without a terminal nobody can be asked, so that what is not read-only would be refused.
    approved = configuration.read_text().replace(table, f'{table}default_tools_approval_mode = "approve"\n')
    configuration.write_text(approved)

    told = desk.run("codex", "exec", "--json", "work off the plan", at=yard.repo)

    assert told.code == 0, told.err
    assert "completed" in [line["item"]["text"] for line in told.lines if line.get("item", {}).get("text")][-1]
    is_worked_off(yard)


def test_codex_refuses_what_is_not_read_only_until_it_is_approved(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit(Scenario("look around", [[Use("plan", action="show")], [Use("why", subject="nothing")], [Say("So.")]]))
    desk.run("codex", "mcp", "add", "crewyard", "--", "crewyard", "serve", at=yard.repo)

    told = desk.run("codex", "exec", "--json", "look around", at=yard.repo)

    assert told.code == 0, told.err
    refused, unknown = desk.models.requests[-1].results
    assert "requires approval" in refused
    assert unknown["code"] == "not_found"
