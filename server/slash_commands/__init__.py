"""What a client offers its user as slash commands (MCP prompts), one file each; only the lead has them.

A text is a unit of work that reads: it states how things stand at that moment, so that the model need not ask first.
"""

from ..workflow_sections import Workflows
from . import orchestrate, review_failures, status, workflow
from .base import Argument, SlashCommand, Standing

__all__ = ["ALL", "Argument", "SlashCommand", "Standing", "offered"]

ALL: tuple[SlashCommand, ...] = (orchestrate.COMMAND, status.COMMAND, review_failures.COMMAND)


def offered(workflows: Workflows | None) -> tuple[SlashCommand, ...]:
    """Those of the crew, and of the workflows where these are configured; of equal names the workflows' (C-20)."""
    own = () if workflows is None else workflow.of(workflows)
    return (*(each for each in ALL if each.name not in {other.name for other in own}), *own)
