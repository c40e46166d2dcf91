"""What was recorded of a range of time, as ``activity`` reads it and the summaries compute with it. Times are in ms."""

from dataclasses import dataclass
from functools import cached_property

from .phases import Span

METRICS = ("cpu_percent", "memory_percent", "swap_percent", "disk_percent", "active_agents")


@dataclass(frozen=True)
class Task:
    """A task that was open in the range or ended in it. ``spans`` are those parts of its time that lie in it."""

    task_id: str
    title: str
    status: str
    needs_review: bool
    ended: int | None
    spans: tuple[Span, ...]
    dispatches: frozenset[str]
    slots: int | None  # the most agents that its dispatches may have at work

    def spent(self, *phases: str) -> int:
        return sum(span.length for span in self.spans if span.phase in phases)


@dataclass(frozen=True)
class Agent:
    """One attempt. ``end`` is None while it lives; what it used is None where its program did not say."""

    agent_id: str
    agent_type: str
    kind: str
    task_id: str
    attempt: int
    status: str
    begin: int
    end: int | None
    blamed: bool  # it ended in a way that counts against it
    message: str
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


@dataclass(frozen=True)
class Merge:
    """A request that ended in the range."""

    task_id: str
    status: str
    at: int
    code: str
    message: str
    flaky: bool
    files_changed: int
    insertions: int
    deletions: int


@dataclass(frozen=True)
class Restart:
    task_id: str
    reason: str
    at: int


@dataclass(frozen=True)
class Failure:
    """An error that was recorded in the range, as it stands now."""

    error_id: str
    at: int
    error_class: str
    severity: str
    status: str
    task_id: str
    agent_id: str
    message: str


@dataclass(frozen=True)
class Hold:
    """Launches were held back from that time on."""

    at: int
    scope: str
    reason: str
    message: str


@dataclass(frozen=True)
class Measure:
    """What was measured of one resource of the machine."""

    samples: int
    mean: float
    maximum: float
    first: float
    last: float
    trend: str


@dataclass(frozen=True)
class Activity:
    """All of it, between ``since`` and ``until``."""

    since: int
    until: int
    tasks: tuple[Task, ...]
    agents: tuple[Agent, ...]
    merges: tuple[Merge, ...]
    restarts: tuple[Restart, ...]
    failures: tuple[Failure, ...]
    holds: tuple[Hold, ...]
    stalled: int
    measures: dict[str, Measure]
    blockers: dict[str, tuple[str, ...]]

    def agents_of(self, task_id: str) -> tuple[Agent, ...]:
        return self._by_task.get(task_id, ())

    @cached_property
    def _by_task(self) -> dict[str, tuple[Agent, ...]]:
        found: dict[str, list[Agent]] = {}
        for agent in self.agents:
            found.setdefault(agent.task_id, []).append(agent)
        return {task_id: tuple(agents) for task_id, agents in found.items()}
