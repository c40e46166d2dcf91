"""Unmodified programs as workers of a daemon: they reach Crewyard's tools over HTTP, with the token of their agent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import test_claude_agents, test_codex_agents, test_gemini_agents, test_opencode_agents
from .desk import Desk
from .models import Part, Say, Scenario, Use

AGENTS = {
    "claude": test_claude_agents.CLAUDE,
    "codex": test_codex_agents.CODEX.partition("[merge]")[0],
    "gemini": test_gemini_agents.AGENT,
    "opencode": test_opencode_agents.AGENT,
}


@pytest.mark.parametrize("kind", AGENTS)
def test_an_agent_reports_to_the_daemon(yard: Any, sit: Callable[..., Desk], kind: str) -> None:
    served: list[str] = []

    def report(results: list[Any]) -> list[Part]:
        [agent] = yard.rows("SELECT run_dir FROM agent_lifecycle")
        server = json.loads((Path(agent["run_dir"]) / "mcp.json").read_text())["mcpServers"]["crewyard"]
        served.append(server["type"])
        return [Use("report", action="complete", summary="It is so already.", no_change=True)]

    # Codex asks its model before our tools are there.
    first = [[test_codex_agents.shell("true")]] if kind == "codex" else []
    desk = sit(Scenario("# Task look", [*first, report, [Say("So.")]]))
    yard.configure(AGENTS[kind])
    agent_type = AGENTS[kind].removeprefix("[agents.").partition("]")[0]
    plan = yard.plan({"task_id": "look", "agent_type": agent_type, "title": "Look"})
    begun = desk.run("crewyard", "start", "--repo", str(yard.repo), at=yard.repo)
    assert begun.code == 0, begun.err

    try:
        told = desk.run("crewyard", "run", str(plan), "--repo", str(yard.repo), "--json", at=yard.repo)
    finally:
        desk.run("crewyard", "stop", "--repo", str(yard.repo), at=yard.repo)

    assert told.code == 0, told.out + told.err
    assert set(served) == {"http"}
    [said] = yard.rows("SELECT * FROM agent_report")
    assert (said["kind"], said["summary"]) == ("complete", "It is so already.")
    assert yard.processes() == []
