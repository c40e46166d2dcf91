"""Document 003 with an unmodified Claude Code: it dispatches a project by slash command, and works in each stage."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from .desk import Desk
from .models import Again, Part, Say, Scenario, Use

CLAUDES = ["claude", "claude-330"]
WORKFLOWS = """\
[agents.coder]
kind = "claude"
environment = ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER"]
[workflows.stages.genesis]
agent = "coder"
output = {type = "object", required = ["repository_url"], properties = {repository_url = {type = "string"}}}
[workflows.stages.development]
agent = "coder"
hands_over = "deployed"
[workflows.stages.content]
agent = "coder"
"""
GOAL = "A shop for tea"


def works(stage: str, **output: str) -> Scenario:
    """What the model of a stage's worker does: a file, its commit, the report with what it hands over."""
    command = f"echo {stage} > {stage}.md && git add -A && git commit -m 'Do {stage}'"
    return Scenario(
        f"Task P-1-{stage}: ",
        [
            [Use("Bash", command=command, description="work")],
            [Use("report", action="complete", summary="It is done.", output=output)],
            [Say("Done.")],
        ],
    )


def is_through(results: list[Any]) -> bool:
    return "completed" in json.dumps(results[-1].get("projects") or results[-1])


@pytest.mark.parametrize("claude", CLAUDES)
def test_a_project_goes_from_the_slash_command_to_its_content(yard: Any, sit: Callable[..., Desk], claude: str) -> None:
    yard.configure(WORKFLOWS)
    status = Use("projects", action="status", project_id="P-1")

    def dispatch(_: list[Any]) -> list[Part]:
        return [Use("projects", action="dispatch", input=GOAL)]

    desk = sit(
        works("genesis", repository_url="https://example.org/tea"),
        works("development", deployment_url="https://tea.example.org"),
        works("content", pieces="post"),
        Scenario(GOAL, [dispatch, Again(Use("route", action="poll", wait_seconds=1), status, until=is_through),
                        [Say("The content is done.")]]),
        claude=claude,
    )  # fmt: skip
    command = f"/mcp__crewyard__dispatch-genesis {GOAL}"

    told = desk.ask_claude(command, *desk.strictly(yard.repo), at=yard.repo, seconds=150)

    assert told.code == 0, told.out + told.err
    assert told.line(type="result")["result"] == "The content is done."
    assert "mcp__crewyard__dispatch-genesis" in told.line(type="system", subtype="init")["slash_commands"]
    [project] = yard.rows("SELECT * FROM project")
    assert (project["status"], project["input"]) == ("completed", GOAL)
    assert project["repository_url"] == "https://example.org/tea"
    assert project["deployment_url"] == "https://tea.example.org"
    assert [yard.at_roadmap(f"{stage}.md") for stage in ("genesis", "development", "content")] == [
        "genesis", "development", "content",
    ]  # fmt: skip
