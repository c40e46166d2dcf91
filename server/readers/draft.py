"""What every reader returns: a plan as plain data, before anything of it is in the database."""

from dataclasses import dataclass, field

# C-37; never sort by the name.
PRIORITY_NAMES = {"urgent": 1, "critical": 1, "high": 2, "normal": 5, "medium": 5, "low": 8}
DEFAULT_PRIORITY = 5
DEFAULT_HOURS = 1.0
MOST_HOURS = 100_000.0
STATUSES = ("pending", "completed", "cancelled")


@dataclass(frozen=True)
class TaskDraft:
    """One task. ``source`` says where it stands in the file; ``check`` is an argument vector."""

    task_id: str
    title: str
    description: str = ""
    spec_id: str | None = None
    priority_id: str | None = None
    priority: int = DEFAULT_PRIORITY
    estimated_hours: float = DEFAULT_HOURS
    depends_on: tuple[str, ...] = ()
    soft_depends_on: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    agent_type: str | None = None
    check: tuple[str, ...] | None = None
    status: str = "pending"
    source: str = ""


@dataclass(frozen=True)
class SpecDraft:
    spec_id: str
    title: str
    content: str = ""
    spec_type: str = "technical"


@dataclass(frozen=True)
class PriorityDraft:
    """A row of the roadmap that tasks may name by ``priority_id``."""

    priority_id: str
    title: str
    content: str = ""
    spec_id: str | None = None


@dataclass(frozen=True)
class PlanDraft:
    """A whole plan. ``name`` is the file's, ``format`` the reader's, ``warnings`` what found no place."""

    tasks: tuple[TaskDraft, ...]
    specs: tuple[SpecDraft, ...] = ()
    priorities: tuple[PriorityDraft, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    format: str = "native"
    name: str = "plan"
