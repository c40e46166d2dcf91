"""What Claude Code makes of our server beyond calling its tools: slash commands, its search for tools, its lists."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from .desk import CREWYARD, Desk
from .models import Again, Say, Scenario, Use

CLAUDES = ["claude", "claude-330"]

WORKERS = {f"mcp__crewyard__{name}" for name in ("agents", "plan", "report", "route")}


@pytest.mark.parametrize("claude", CLAUDES)
def test_a_slash_command_tells_the_model_how_things_stand(yard: Any, sit: Callable[..., Desk], claude: str) -> None:
    desk = sit(Scenario("how the crew stands", [[Say("Nothing to do.")]]), claude=claude)

    told = desk.ask_claude("/mcp__crewyard__status", *desk.strictly(yard.repo), at=yard.repo)

    assert told.line(type="result")["result"] == "Nothing to do."
    commands = told.line(type="system", subtype="init")["slash_commands"]
    assert {f"mcp__crewyard__{name}" for name in ("orchestrate", "status", "review-failures")} <= set(commands)
    assert "There are no tasks yet. A supervisor acts." in desk.models.requests[-1].said


def test_a_goal_of_several_words_reaches_the_model_though_the_argument_is_cut(
    yard: Any, sit: Callable[..., Desk]
) -> None:
    desk = sit(Scenario("Lead a crew", [[Say("Understood.")]]), claude="claude-330")

    desk.ask_claude("/mcp__crewyard__orchestrate a search page", *desk.strictly(yard.repo), at=yard.repo)

    said = desk.models.requests[-1].said
    assert "<command-args>a search page</command-args>" in said
    assert "The user wants: a\nSome programs hand over the first word only" in said


@pytest.mark.parametrize("claude", CLAUDES)
def test_an_agents_tools_are_there_at_once_where_the_leads_wait_behind_a_search(
    yard: Any, sit: Callable[..., Desk], claude: str
) -> None:
    offered = [tools_of(sit, claude, yard, token) for token in ({"CREWYARD_AGENT_TOKEN": "nobody's"}, {})]
    assert offered == [WORKERS, set()]


def tools_of(sit: Callable[..., Desk], claude: str, yard: Any, token: dict[str, str]) -> set[str]:
    """Those of ours that the model is offered once it knows of any."""

    def knows(_: object) -> bool:
        asked = desk.models.requests[-1]
        return "mcp__crewyard__" in f"{asked.tools} {asked.messages}"

    wait = Again(Use("Bash", command="git status"), until=knows)
    desk = sit(Scenario("hello", [wait, [Say("Hi.")]]), claude=claude)
    desk.ask_claude("hello", *desk.strictly(yard.repo, env=token), at=yard.repo, ENABLE_TOOL_SEARCH="true")
    return {name for name in desk.models.requests[-1].tools if name.startswith("mcp__crewyard__")}


@pytest.mark.parametrize(
    ("words", "finds"),
    [
        ("run tasks in parallel", "assign"),
        ("import a plan", "plan"),
        ("spawn agents", "agents"),
        ("merge branches", "worktrees"),
        ("resolve merge conflict", "worktrees"),
        ("why is it stuck", "why"),
        ("deadlock", "detect_deadlocks"),
    ],
)
def test_its_tool_search_finds_the_tool_first(yard: Any, sit: Callable[..., Desk], words: str, finds: str) -> None:
    desk = sit(
        Scenario("hello", [[Use("ToolSearch", query=words, max_results=5)], [Say("Found.")]]), claude="claude-330"
    )

    desk.ask_claude("hello", *desk.strictly(yard.repo), "--max-turns", "3", at=yard.repo)

    found = re.findall(r"'tool_name': '(\w+)'", str(desk.models.requests[-1].messages))
    assert found[0] == f"mcp__crewyard__{finds}", found


def test_it_is_added_by_one_line_for_the_user_or_for_all_who_share_the_repository(
    yard: Any, sit: Callable[..., Desk]
) -> None:
    desk = sit()
    for scope in ("local", "user", "project"):
        added = desk.run("claude", "mcp", "add", "--scope", scope, "crewyard", "--", "crewyard", "serve", at=yard.repo)
        assert added.code == 0, added.err
        listed = desk.run("claude", "mcp", "get", "crewyard", at=yard.repo).out
        assert "Command: crewyard" in listed
        if scope == "project":
            assert json.loads((yard.repo / ".mcp.json").read_text())["mcpServers"]["crewyard"]["args"] == ["serve"]
            assert "Pending approval" in listed
        else:
            assert "✔ Connected" in listed
        assert desk.run("claude", "mcp", "remove", "--scope", scope, "crewyard", at=yard.repo).code == 0


def test_a_server_that_is_not_installed_is_told_of(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit(Scenario("hello", [[Say("Hello.")]]))

    told = desk.ask_claude("hello", *desk.strictly(yard.repo, command=f"{CREWYARD}-missing"), at=yard.repo)

    assert told.line(type="system", subtype="init")["mcp_servers"][0]["status"] == "failed"
    assert told.line(type="result")["result"] == "Hello."
