"""Somebody's desk: a home of its own with the real programs, set up to talk to nobody but the scripted models."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import programs
from .models import Models

CREWYARD = str(Path(sys.executable).with_name("crewyard"))
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "NO_UPDATE_NOTIFIER": "1",
    # On a busy machine the first question would go out before our server is up, and offer no tool of it.
    "MCP_CONNECTION_NONBLOCKING": "0",
    "MCP_CONNECT_TIMEOUT_MS": "60000",
    "MCP_TIMEOUT": "60000",
    # Whatever else they would ask of the network is refused on the spot: nobody listens there.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}
CODEX = """\
model = "scripted"
model_provider = "scripted"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
plugins = false
[model_providers.scripted]
name = "scripted"
base_url = "{url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
"""
GEMINI = {
    "general": {"disableAutoUpdate": True, "enableAutoUpdate": False},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "security": {"auth": {"selectedType": "gemini-api-key"}},
}


@dataclass
class Desk:
    """``folder`` is empty when it is made. ``environment`` is all that its programs see of this machine."""

    folder: Path
    models: Models
    installed: Path
    # The version that is called `claude` here.
    claude: str = "claude"
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        home, links = self.folder / "home", self.folder / "bin"
        for name in (".codex", ".gemini", ".config/opencode"):
            (home / name).mkdir(parents=True)
        links.mkdir()
        for name in ("codex", "gemini", "inspector", "opencode"):
            (links / name).symlink_to(programs.executable(self.installed, name))
        (links / "claude").symlink_to(programs.executable(self.installed, self.claude))
        url = self.models.url
        (home / ".codex/config.toml").write_text(CODEX.format(url=url))
        (home / ".gemini/settings.json").write_text(json.dumps(GEMINI))
        opencode = {
            "autoupdate": False,
            "model": "anthropic/claude-sonnet-4-5",
            "provider": {"anthropic": {"options": {"baseURL": f"{url}/v1", "apiKey": "none"}}},
        }
        (home / ".config/opencode/opencode.json").write_text(json.dumps(opencode))
        found = [Path(where).parent for name in ("node", "git", "sh") if (where := shutil.which(name))]
        self.environment = QUIET | {
            "HOME": str(home),
            "PATH": os.pathsep.join(map(str, [links, Path(CREWYARD).parent, *found])),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "GIT_CONFIG_NOSYSTEM": "1",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "none",
            "OPENAI_API_KEY": "none",
            "GEMINI_API_KEY": "none",
            "GOOGLE_GEMINI_BASE_URL": url,
        }

    @property
    def passed_on(self) -> list[str]:
        """An agent type's ``environment``: what its program has to see of the desk."""
        return [name for name in self.environment if name != "PATH"]

    def run(self, *command: str, at: Path, seconds: float = 120, **environment: str) -> "Told":
        """A program from beginning to end, with nothing on its standard input."""
        done = subprocess.run(
            command,
            cwd=at,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Told(done.returncode, done.stdout, done.stderr)

    def start(self, *command: str, at: Path) -> "subprocess.Popen[bytes]":
        """A program that the test ends itself. What it says goes to the test's own output."""
        return subprocess.Popen(command, cwd=at, env=self.environment, stdin=subprocess.DEVNULL)

    def ask_claude(self, prompt: str, *options: str, at: Path, seconds: float = 120, **environment: str) -> "Told":
        """Claude Code without a terminal, with our tools allowed and no other question possible."""
        command = ["claude", "-p", prompt, "--output-format", "stream-json", "--verbose"]
        return self.run(*command, "--allowedTools", "mcp__crewyard", *options, at=at, seconds=seconds, **environment)

    def strictly(self, repo: Path, **server: Any) -> list[str]:
        """Claude Code's options for our server over ``repo`` and no other."""
        path = self.folder / "mcp.json"
        crewyard = {"command": CREWYARD, "args": ["serve", "--repo", str(repo)], **server}
        path.write_text(json.dumps({"mcpServers": {"crewyard": crewyard}}))
        return ["--strict-mcp-config", "--mcp-config", str(path)]


@dataclass
class Told:
    """What a program said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def line(self, **having: Any) -> dict[str, Any]:
        """The first of them that has these values."""
        found = next((line for line in self.lines if having.items() <= line.items()), None)
        assert found is not None, f"no line with {having} in:\n{self.out}\n{self.err}"
        return found
