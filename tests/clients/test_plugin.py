"""The plugin of Claude Code, installed from the repository as its users do it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .desk import Desk
from .models import Say, Scenario, Use

ROOT = Path(__file__).resolve().parents[2]
CLAUDES = ["claude", "claude-330"]


@pytest.mark.parametrize("claude", CLAUDES)
def test_it_installs_from_the_repository_and_brings_server_and_commands(
    yard: Any, sit: Callable[..., Desk], claude: str
) -> None:
    desk = sit(Scenario("crewyard:status", [[Use("plan", action="show")], [Say("No tasks.")]]), claude=claude)

    for words in (("validate", "--strict", "./"), ("marketplace", "add", "./"), ("install", "crewyard@crewyard")):
        told = desk.run("claude", "plugin", *words, at=ROOT)
        assert told.code == 0, told.out + told.err
    assert (
        "plugin:crewyard:crewyard: crewyard serve - ✔ Connected" in desk.run("claude", "mcp", "list", at=yard.repo).out
    )

    ours = ("--allowedTools", "mcp__plugin_crewyard_crewyard")
    told = desk.ask_claude("/crewyard:status", *ours, at=yard.repo)
    commands = told.line(type="system", subtype="init")["slash_commands"]
    assert {"crewyard:orchestrate", "crewyard:status", "crewyard:review-failures"} <= set(commands)
    assert "The plan is empty." in desk.models.requests[-1].said
    assert told.line(type="result")["result"] == "No tasks."
    assert desk.models.requests[-1].results[-1]["tasks"] == []


def test_its_command_gets_a_goal_whole(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit(Scenario("a search page with an index", [[Say("Understood.")]]))
    desk.run("claude", "plugin", "marketplace", "add", str(ROOT), at=yard.repo)
    desk.run("claude", "plugin", "install", "crewyard@crewyard", at=yard.repo)

    told = desk.ask_claude("/crewyard:orchestrate a search page with an index", at=yard.repo)

    assert told.line(type="result")["result"] == "Understood."
    assert "The user wants: a search page with an index\n" in desk.models.requests[-1].said
