"""What every kind of agent program has in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..sections import Agent


@dataclass(frozen=True)
class Launch:
    """What a command line may be built from. ``resumes``: the conversation ``session_id`` is there already."""

    agent_id: str
    task_id: str
    attempt: int
    prompt: str
    prompt_file: Path
    worktree: Path
    mcp_config: Path
    session_id: str
    resumes: bool


class Kind(Protocol):
    """One agent program."""

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """Raise ConfigurationError, with the cure, where agents of this kind could not be started."""

    def argv(self, agent: Agent, launch: Launch) -> list[str]:
        """The command line, as a list: nothing of it passes through a shell."""
