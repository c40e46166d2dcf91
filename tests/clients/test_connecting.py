"""The lines of docs/clients.md, typed as they stand there: each program says that our server is connected."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from yards import wait_until

from .desk import Desk

ROOT = Path(__file__).resolve().parents[2]
MCP = str(Path(sys.executable).with_name("mcp"))
CLIENTS = (ROOT / "docs" / "clients.md").read_text()


def test_codex_takes_the_line(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit()
    assert desk.run("codex", "mcp", "add", "crewyard", "--", "crewyard", "serve", at=yard.repo).code == 0

    assert re.search(r"crewyard +crewyard +serve .* enabled", desk.run("codex", "mcp", "list", at=yard.repo).out)
    written = (Path(desk.environment["HOME"]) / ".codex/config.toml").read_text()
    assert '[mcp_servers.crewyard]\ncommand = "crewyard"\nargs = ["serve"]\n' in written


def test_gemini_connects_in_a_folder_that_it_trusts(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit()
    assert desk.run("gemini", "mcp", "add", "crewyard", "crewyard", "serve", at=yard.repo).code == 0

    distrusted = desk.run("gemini", "mcp", "list", at=yard.repo)
    assert "Disabled" in distrusted.out + distrusted.err

    def connects() -> bool:
        """It gives a server five seconds, which a busy machine may need."""
        told = desk.run("gemini", "mcp", "list", at=yard.repo, GEMINI_CLI_TRUST_WORKSPACE="true")
        return "crewyard: crewyard serve (stdio) - Connected" in told.out + told.err

    wait_until(connects, seconds=150)


def test_opencode_connects_by_the_file_of_the_documents(yard: Any, sit: Callable[..., Desk]) -> None:
    desk = sit()
    [settings] = [text for text in re.findall(r"```json\n(.*?)```", CLIENTS, re.DOTALL) if "opencode.ai" in text]
    (yard.repo / "opencode.json").write_text(settings)

    told = desk.run("opencode", "mcp", "list", at=yard.repo)
    assert re.search(r"✓ crewyard\b.*connected", told.out + told.err)


@pytest.mark.parametrize("claude", ["claude", "claude-330"])
def test_claude_code_connects_over_http_with_the_daemons_token(
    yard: Any, sit: Callable[..., Desk], claude: str
) -> None:
    desk = sit(claude=claude)
    begun = json.loads(desk.run("crewyard", "start", "--json", at=yard.repo).out)
    try:
        token = (yard.repo / "data/crewyard/http-token").read_text().strip()
        line = ("--transport", "http", "crewyard", begun["url"], "--header", f"Authorization: Bearer {token}")
        assert desk.run("claude", "mcp", "add", *line, at=yard.repo).code == 0
        assert "✔ Connected" in desk.run("claude", "mcp", "list", at=yard.repo).out
    finally:
        desk.run("crewyard", "stop", at=yard.repo)


@pytest.mark.parametrize(
    ("method", "has"),
    [
        (["tools/list"], "monitor_resource_usage"),
        (["resources/list"], "crewyard://status"),
        (["resources/templates/list"], "crewyard://agents/{agent_id}/log"),
        (["prompts/list"], "review-failures"),
        (["prompts/get", "--prompt-name", "orchestrate", "--prompt-args", "plan=PLAN.md"], "the plan PLAN.md"),
        (["resources/read", "--uri", "crewyard://graph"], "critical_path"),
        (["tools/call", "--tool-name", "plan", "--tool-arg", "action=show"], '"status": "success"'),
    ],
)
@pytest.mark.parametrize(
    "server", [["crewyard", "serve"], [MCP, "run", str(ROOT / "server/app.py:app")]], ids=["serve", "mcp-run"]
)
def test_the_inspectors_command_line_shows_what_we_serve(
    yard: Any, sit: Callable[..., Desk], server: list[str], method: list[str], has: str
) -> None:
    told = sit().run("inspector", "--cli", *server, "--method", *method, at=yard.repo)

    assert told.code == 0, told.err
    assert has in told.out.replace('\\"', '"')
    json.loads(told.out)
