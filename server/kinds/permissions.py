"""What an agent may do without asking, by its role: the least with which that role can work."""

import re
from typing import Literal

from ..sections import Agent

Permissions = Literal["read", "edit", "run"]
# Roles of the documents whose work is to look and to answer.
LOOKING = ("assistant", "code_reviewer", "reviewer")
# How the commands begin with which one looks, and commits.
LOOK = ("git status", "git diff", "git log", "git show")
COMMIT = ("git add", "git commit", "git rm", "git mv")


def of(agent_type: str, agent: Agent) -> Permissions:
    """What the settings say, or else what suits the role."""
    return agent.permissions or ("read" if agent_type in LOOKING else "edit")


def parts(check: str) -> list[str]:
    """A command line, and the commands that it is made of, for a program that asks about each of them.

    Where it takes a sign within quotes for one between commands, it names pieces of a text, which are no harm.
    """
    pieces = [piece.strip() for piece in re.split(r"&&|\|\||[;|\n]", check)]
    return list(dict.fromkeys([check, *filter(None, pieces)]))
