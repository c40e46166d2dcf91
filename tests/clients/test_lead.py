"""An unmodified Claude Code as the lead."""

from collections.abc import Callable
from typing import Any

import pytest

from .desk import Desk
from .models import Say, Scenario, Use

CLAUDES = ["claude", "claude-330"]


@pytest.mark.parametrize("claude", CLAUDES)
def test_claude_code_connects_and_calls_the_tools(yard: Any, sit: Callable[..., Desk], claude: str) -> None:
    looks = [[Use("plan", action="show")], [Use("why", subject="nothing of that name")], [Say("That is all.")]]
    desk = sit(Scenario("look around", looks), claude=claude)

    told = desk.ask_claude(
        "look around", "--strict-mcp-config", "--mcp-config", str(desk.configuration(yard.repo)), at=yard.repo
    )

    assert told.code == 0, told.err
    [server] = told.line(type="system", subtype="init")["mcp_servers"]
    assert (server["name"], server["status"]) == ("crewyard", "connected")
    assert told.line(type="result")["result"] == "That is all."
    shown, refused = desk.models.requests[-1].results
    assert (shown["status"], shown["tasks"]) == ("success", [])
    assert (refused["code"], "plan(action='show')" in refused["hint"]) == ("not_found", True)
