"""Kind ``scripted``: the built-in agent for demo and tests, a real process that follows a script in its prompt."""

import sys
from pathlib import Path

from ..sections import Agent
from .base import Launch, Start
from .command import Command

PROGRAM = Path(__file__).with_name("scripted_agent.py")


class Scripted(Command):
    """Needs no key and no network."""

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """It is always there."""

    def start(self, agent: Agent, launch: Launch) -> Start:
        return Start([sys.executable, "-I", "-S", str(PROGRAM)])
