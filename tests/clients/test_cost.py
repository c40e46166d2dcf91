"""What our tools cost a model, measured on what the clients really send."""

from collections.abc import Callable
from typing import Any

import pytest

from .desk import Desk
from .models import Asked, Say, Scenario, Use

CHARACTERS_A_TOKEN = 4
LEADS_TOKENS = 4_000
WORKERS_TOKENS = 1_500


def ours(asked: Asked) -> dict[str, int]:
    return {name: size for name, size in asked.tools.items() if name.startswith("mcp__crewyard")}


def tokens(asked: Asked) -> float:
    return sum(ours(asked).values()) / CHARACTERS_A_TOKEN


@pytest.mark.parametrize("claude", ["claude", "claude-330"])
def test_all_of_the_leads_tools_cost_little_in_claude_code(yard: Any, sit: Callable[..., Desk], claude: str) -> None:
    desk = sit(Scenario("look around", [[Use("why", subject="x")], [Say("Seen.")]]), claude=claude)

    desk.ask_claude("look around", *desk.strictly(yard.repo, alwaysLoad=True), at=yard.repo)

    first = desk.models.requests[0]
    assert len(ours(first)) == 10
    assert 1_000 < tokens(first) < LEADS_TOKENS


def test_where_tools_are_searched_for_ours_cost_their_names_alone(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit(Scenario("look around", [[Use("why", subject="x")], [Say("Seen.")]]), claude="claude-330")

    desk.ask_claude("look around", *desk.strictly(yard.repo), at=yard.repo)

    first, *_, last = desk.models.requests
    assert (ours(first), len(ours(last))) == ({}, 1)
    assert "mcp__crewyard__worktrees" in str(first.messages)


def test_the_leads_tools_cost_little_in_codex(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit(Scenario("look around", [[Use("why", subject="x")], [Say("Seen.")]]))
    desk.run("codex", "mcp", "add", "crewyard", "--", "crewyard", "serve", at=yard.repo)

    desk.run("codex", "exec", "look around", at=yard.repo)

    last = desk.models.requests[-1]
    assert len(ours(last)) == 10
    assert 1_000 < tokens(last) < LEADS_TOKENS


@pytest.mark.parametrize("claude", ["claude", "claude-330"])
def test_a_workers_tools_cost_less_still(yard: Any, sit: Callable[..., Desk], claude: str) -> None:
    done = [Use("report", action="complete", summary="It is so already.", no_change=True)]
    desk = sit(Scenario("do your task", [done, [Say("Done.")]]), claude=claude)
    shell = 'exec claude -p "do your task" --strict-mcp-config --mcp-config "$CREWYARD_MCP_CONFIG"'
    shell += " --allowedTools mcp__crewyard"
    yard.configure(f"[agents.worker]\ncommand = ['sh', '-c', '{shell}']\nenvironment = {desk.passed_on}\n")

    ran = desk.run("crewyard", "run", str(yard.plan({"task_id": "A", "agent_type": "worker"})), at=yard.repo)

    assert ran.code == 0, ran.err
    last = desk.models.requests[-1]
    assert last.results[0]["status"] == "success"
    if claude == "claude":  # the other loads what it searched for, and was offered the rest by name
        assert len(ours(last)) == 4
    assert 0 < tokens(last) < WORKERS_TOKENS
