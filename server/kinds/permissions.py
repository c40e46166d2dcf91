"""What an agent may do without asking, by its role: the least with which that role can work."""

from typing import Literal

from ..sections import Agent

Permissions = Literal["read", "edit", "run"]
# Roles of the documents whose work is to look and to answer.
LOOKING = ("assistant", "code_reviewer", "reviewer")


def of(agent_type: str, agent: Agent) -> Permissions:
    """What the settings say, or else what suits the role."""
    return agent.permissions or ("read" if agent_type in LOOKING else "edit")
