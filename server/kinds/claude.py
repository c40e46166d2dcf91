"""Kind ``claude``: Claude Code without a terminal, ``claude -p``, its events as lines of JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import endings, spending
from ..sections import Agent
from ..wording import cut, last_lines
from . import objects, permissions
from .base import Heard, Launch, Start, readable_text
from .command import require_program
from .program import Program

LOOK = ("Read", "Glob", "Grep", "Bash(git status:*)", "Bash(git diff:*)", "Bash(git log:*)", "Bash(git show:*)")
COMMIT = ("Edit", "Write", "NotebookEdit", "Bash(git add:*)", "Bash(git commit:*)", "Bash(git rm:*)", "Bash(git mv:*)")
LINE = 300


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
        adds_server=("claude", "mcp", "add", "crewyard", "--"),
    )
    tells_session = True
    polls = True
    commits = True
    counts_conversation = False
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
            *("--permission-mode", "default" if allowed == "read" else "acceptEdits", *agent.arguments),
            *("--allowedTools", *_tools(allowed, launch, agent)),
        ]
        return Start(words, reads_prompt=True)

    def heard(self, output: str, quota_pattern: str, *, now: str) -> Heard:
        session, result = None, {}
        for said in objects.of_lines(output):
            session = _text(said.get("session_id")) or session
            if said.get("type") == "result":
                result = said
        error = _text(result.get("result")) or "it said no more" if result.get("is_error") else None
        return Heard(
            last_lines(readable_text(self, output)),
            session=session,
            spending=spending.of_claude(result) if result else None,
            error=error,
            limit=endings.quota(error or "", quota_pattern, now=now),
            denied=[_denied(each) for each in result.get("permission_denials") or () if isinstance(each, dict)],
        )

    def readable(self, line: str) -> str | None:
        said = objects.of_line(line)
        if said is None:
            return line
        message = said.get("message")
        if said.get("type") == "result":
            return _text(said.get("result"))
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            return None
        return "\n".join(filter(None, (_of_block(block) for block in message["content"]))) or None


def _tools(allowed: permissions.Permissions, launch: Launch, agent: Agent) -> list[str]:
    more = {"read": (), "edit": COMMIT, "run": (*COMMIT, "Bash")}[allowed]
    checks = [] if allowed == "read" else [f"Bash({check})" for check in launch.checks]
    return ["mcp__crewyard", *LOOK, *more, *checks, *agent.allow]


def _denied(refusal: dict[str, Any]) -> str:
    given = refusal.get("tool_input")
    command = given.get("command") if isinstance(given, dict) else None
    return cut(f"{refusal.get('tool_name')}({command})" if command else str(refusal.get("tool_name")), LINE)


def _of_block(block: object) -> str | None:
    if not isinstance(block, dict):
        return None
    if block.get("type") == "text":
        return _text(block.get("text"))
    if block.get("type") == "tool_use":
        return cut(f"→ {block.get('name')} {json.dumps(block.get('input'), ensure_ascii=False)}", LINE)
    if block.get("type") == "tool_result" and block.get("is_error"):
        return cut(f"✗ {block.get('content')}", LINE)
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
