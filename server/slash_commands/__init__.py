"""What a client offers its user as slash commands (MCP prompts), one file each; only the lead has them.

A text is a unit of work that reads: it states how things stand at that moment, so that the model need not ask first.
"""

from . import orchestrate, review_failures, status
from .base import Argument, SlashCommand, Standing

__all__ = ["ALL", "Argument", "SlashCommand", "Standing"]

ALL: tuple[SlashCommand, ...] = (orchestrate.COMMAND, status.COMMAND, review_failures.COMMAND)
