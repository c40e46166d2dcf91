"""The fifteen commands of documents 000 and 001, one file each, by category (R-004, R-030).

The tools of the MCP server, ``crewyard command`` and ``ClaudeAgentInvoker`` are three faces over the same units of
work; what is written here is what the documents call a command: its parameters, its answer and what it keeps to.
"""

import difflib
from importlib import import_module

from ..errors import InvalidInput
from .base import Command
from .described import parameters_of

__all__ = ["CATEGORIES", "NAMES", "get", "parameters_of"]

CATEGORIES: dict[str, tuple[str, ...]] = {
    "Work Distribution": ("find-available-work", "create-parallel-tasks", "coordinate-dependencies"),
    "Agent Lifecycle": (
        "spawn-agent-session",
        "monitor-agent-lifecycle",
        "kill-stalled-agent",
        "auto-restart-agent",
        "detect-deadlocks",
    ),
    "Worktree Management": ("create-worktree", "merge-completed-work", "cleanup-worktrees"),
    "System Monitoring": (
        "route-inter-agent-messages",
        "monitor-resource-usage",
        "generate-activity-summary",
        "handle-agent-errors",
    ),
}
NAMES = tuple(name for names in CATEGORIES.values() for name in names)


def get(name: str) -> Command:
    """The command of this name. Raises InvalidInput."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"One of {', '.join(NAMES)}."
        raise InvalidInput(f"There is no command {name!r}.", hint=hint, command=name)
    command: Command = import_module(f".{name.replace('-', '_')}", __package__).COMMAND
    return command
