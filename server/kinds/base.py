"""What every kind of agent program has in common: how it is started, and what its output tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..endings import Quota
from ..sections import Agent
from ..spending import Spending
from . import objects
from .program import Program


@dataclass(frozen=True)
class Launch:
    """What a program's start is made from.

    ``resumes``: the conversation ``session_id`` is there already. ``checks`` are the commands that its work must pass,
    as one types them. ``server`` is the entry of an MCP configuration by which it reaches Crewyard; it holds a token.
    """

    agent_id: str
    agent_type: str
    task_id: str
    attempt: int
    prompt: str
    prompt_file: Path
    worktree: Path
    mcp_config: Path
    program_config: Path
    session_id: str
    resumes: bool
    checks: Sequence[str] = ()
    server: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """What it finds of all this in its environment, whatever its kind."""
        return {
            "CREWYARD_AGENT_ID": self.agent_id,
            "CREWYARD_AGENT_TYPE": self.agent_type,
            "CREWYARD_TASK_ID": self.task_id,
            "CREWYARD_ATTEMPT": str(self.attempt),
            "CREWYARD_PROMPT_FILE": str(self.prompt_file),
            "CREWYARD_OUTPUT_FILE": str(self.prompt_file.with_name("output.json")),
            "CREWYARD_WORKTREE": str(self.worktree),
            "CREWYARD_MCP_CONFIG": str(self.mcp_config),
        }


@dataclass(frozen=True)
class Start:
    """How a program is started. Nothing of ``argv`` passes through a shell, and nothing secret is in it.

    ``config`` is laid down as the launch's ``program_config``, for its owner only, and gone when the agent ends.
    ``files`` lie in the run folder beside it, by their names there: a content, or the path that a link leads to. They
    hold no secret. ``folders`` are made first, where they are missing.
    ``reads_prompt``: the prompt file is its standard input, which is closed otherwise.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    config: bytes | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    folders: Sequence[Path] = ()
    reads_prompt: bool = False


@dataclass(frozen=True)
class Heard:
    """What the output of an agent that has ended tells of its run, as far as it does.

    ``text`` is its end as a person reads it, ``error`` what went wrong in the program's own words, whatever its exit
    code; ``limit`` its provider's, ``login`` its words that it is not logged in, ``question`` what it asked a person
    when it ended, ``denied`` what it wanted to do and was not allowed to, as ``allow`` would name it.
    """

    text: str = ""
    session: str | None = None
    spending: Spending | None = None
    error: str | None = None
    limit: Quota | None = None
    login: str | None = None
    question: str | None = None
    denied: Sequence[str] = ()


class Kind(Protocol):
    """One agent program."""

    program: Program | None  # the one that it is; None where the settings say which
    tells_session: bool  # its output names the conversation; else it is the one that the launch named
    polls: bool  # it can call Crewyard's tools, and so read its mail
    commits: bool  # it can call the git commands that write; else what it leaves is committed for it
    counts_conversation: bool  # what it says that it has used is of all its conversation so far, not of this run
    takes_allow: bool  # single things can be allowed it, by ``allow``; else only ``permissions`` widens what it may do
    variables: Sequence[str]  # of our environment, by which it is logged in and finds its provider

    def preflight(self, name: str, agent: Agent, root: Path) -> None:
        """Raise ConfigurationError, with the cure, where agents of this kind could not be started."""

    def start(self, agent: Agent, launch: Launch) -> Start:
        """How it is started on a task."""

    def heard(self, output: str, quota_pattern: str, *, now: str) -> Heard:
        """What the beginning and the end of its output tell (``outputs.ends``). It may hold anything at all."""

    def readable(self, line: str) -> str | None:
        """A line of its output as a person reads it; None where it is of no interest."""


def readable_text(kind: Kind, output: str) -> str:
    """An output as a person reads it."""
    lines = (kind.readable(line) for line in objects.lines(output))
    return "\n".join(line for line in lines if line is not None)
