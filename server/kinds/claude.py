"""Kind ``claude``: Claude Code without a terminal, ``claude -p``, its events as lines of JSON."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ..sections import Agent
from . import claude_events, permissions
from .base import Heard, Launch, Start
from .command import require_program
from .program import Program

# Looking is allowed by itself, in the worktree and by commands that Claude Code knows to be harmless. A rule for it
# would take more in: a bare `Read`, `Edit` or `Write` is of any file of the machine, and `Bash(git diff:*)` of its
# `--output`, which writes any.
COMMIT = ("Bash(git add:*)", "Bash(git commit:*)", "Bash(git rm:*)", "Bash(git mv:*)")
# These ask nobody, and lead out of the worktree or beyond the end of the run.
NEVER = ("EnterWorktree", "CronCreate", "ScheduleWakeup")
# Or it begins before its server answers, and the model is told that it has no `report`.
PATIENCE = {"MCP_CONNECTION_NONBLOCKING": "0", "MCP_CONNECT_TIMEOUT_MS": "60000", "MCP_TIMEOUT": "60000"}
_SPECIAL = re.compile(r"[\\()]")


class Claude:
    """Claude Code. It asks nobody: what is not allowed is refused, and told at the end."""

    program: Program | None = Program(
        "claude",
        tried="2.1.197",
        log_in="claude auth login",
        keys=(
            *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
            *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
        ),
        files=(".claude/.credentials.json",),
        home="CLAUDE_CONFIG_DIR",
        steered_by=(".claude", ".mcp.json"),
        adds_server=("claude", "mcp", "add", "crewyard", "--"),
    )
    tells_session = True
    polls = True
    commits = True
    counts_conversation = False
    takes_allow = True
    variables: Sequence[str] = (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CONFIG_DIR",
    )

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """Raises ConfigurationError where the program is not there."""
        require_program(f"agents.{name}", agent.program or "claude", root)

    def start(self, agent: Agent, launch: Launch) -> Start:
        conversation = ["--resume" if launch.resumes else "--session-id", launch.session_id]
        model = ["--model", agent.model] if agent.model else []
        allowed = permissions.of(launch.agent_type, agent)
        words = [
            *(agent.program or "claude", "--print", "--output-format", "stream-json", "--verbose", *conversation),
            *("--mcp-config", str(launch.mcp_config), "--strict-mcp-config", *model),
            *("--permission-mode", "default" if allowed == "read" else "acceptEdits"),
            *("--settings", json.dumps({"permissions": {"allow": _checks(allowed, launch)}}), *agent.arguments),
            *("--disallowedTools", *NEVER, "--allowedTools", *_tools(allowed, agent)),
        ]
        return Start(words, environment=PATIENCE, reads_prompt=True)

    def heard(self, output: str, quota_pattern: str, *, now: str) -> Heard:
        return claude_events.heard(output, quota_pattern, now=now)

    def readable(self, line: str) -> str | None:
        return claude_events.readable(line)


def _tools(allowed: permissions.Permissions, agent: Agent) -> list[str]:
    more = {"read": (), "edit": COMMIT, "run": ("Bash",)}[allowed]
    return ["mcp__crewyard", *more, *agent.allow]


def _checks(allowed: permissions.Permissions, launch: Launch) -> list[str]:
    """Rules for these very commands. Not among ``--allowedTools``, which takes a comma for the end of one."""
    if allowed == "read":
        return []
    return [f"Bash({_SPECIAL.sub(lambda found: chr(92) + found[0], check)})" for check in launch.checks]
