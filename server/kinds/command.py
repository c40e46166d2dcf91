"""Kind ``command``: any program, its arguments filled from placeholders (contract 5)."""

import difflib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .. import endings, spending
from ..errors import ConfigurationError
from ..sections import Agent
from ..wording import last_lines
from .base import Heard, Launch, Start
from .program import Program

PLACEHOLDERS = ("prompt", "prompt_file", "task_id", "worktree", "agent_id", "mcp_config", "attempt", "session_id")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class Command:
    """Starts the configured command in the task's worktree."""

    program: Program | None = None
    tells_session = False
    polls = False
    commits = True
    counts_conversation = False
    takes_allow = False
    variables: Sequence[str] = ()

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """Raises ConfigurationError where the program or a placeholder does not exist."""
        for argument in (*agent.command, *agent.resume_command):
            for word in _PLACEHOLDER.findall(argument):
                if word not in PLACEHOLDERS:
                    near = difflib.get_close_matches(word, PLACEHOLDERS, n=1)
                    raise ConfigurationError(
                        f"agents.{name}.command: {{{word}}} is no placeholder.",
                        hint=f"Did you mean {{{near[0]}}}?" if near else f"Known: {', '.join(PLACEHOLDERS)}.",
                    )
        for program in {line[0] for line in (agent.command, agent.resume_command) if line}:
            require_program(f"agents.{name}.command", program, root)

    def start(self, agent: Agent, launch: Launch) -> Start:
        values = {word: str(getattr(launch, word)) for word in PLACEHOLDERS}
        words = agent.resume_command if launch.resumes and agent.resume_command else agent.command
        return Start([_PLACEHOLDER.sub(lambda match: values[match[1]], argument) for argument in words])

    def heard(self, output: str, quota_pattern: str, *, now: str) -> Heard:
        text = last_lines(output)
        limit = endings.quota(text, quota_pattern, now=now)
        return Heard(text, spending=spending.told_by(output), limit=limit)

    def readable(self, line: str) -> str | None:
        return line


def is_there(program: str, root: Path) -> bool:
    """Whether ``program`` can be started in a worktree of the repository at ``root``."""
    if "/" not in program:
        return shutil.which(program) is not None
    # A relative path is looked up in the worktree, which is a copy of what the root has under version control.
    return os.access(root / program, os.X_OK)


def require_program(key: str, program: str, root: Path) -> None:
    """Raises ConfigurationError where ``program``, which the setting ``key`` names, is not there."""
    if not is_there(program, root):
        raise ConfigurationError(
            f"{key}: there is no program {program!r}.",
            hint="Arguments have a place of their own: `arguments`, or further items of `command`."
            if " " in program
            else "Install it, or give its path in crewyard.toml.",
        )
