"""``find-available-work``: the tasks that could start now, the most urgent first (R-079 to R-085)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import clock, launches, tasks
from ..errors import NoAvailableWork
from ..identity import Caller
from ..store import Row, Transaction
from ..yard import Yard
from .base import Answer, Command, Example, Parameters

Urgency = Literal["all", "high", "medium", "low"]
NEXT_CHECK_SECONDS = 30
NEXT_CHECK_WITHOUT_WORK_SECONDS = 60


class Given(Parameters):
    max_parallel: Annotated[int, Field(ge=1, le=1000, description="the most to be returned")] = 4
    priority_filter: Annotated[Urgency, Field(description="high is 1-2, medium 3-7, low 8-10")] = "all"
    exclude_blocked: Annotated[bool, Field(description="false: pending tasks as well, with what blocks them")] = True
    resource_check: Annotated[bool, Field(description="look whether the machine has room for an agent")] = True


class Dependencies(BaseModel):
    total: int
    completed: int
    blocked: int


class Available(BaseModel):
    task_id: str
    spec_id: str | None
    spec_title: str | None
    status: str
    priority: int
    estimated_hours: float
    dependencies: Dependencies
    can_parallelize: bool
    assigned_agent: str | None


class Found(Answer):
    available_tasks: list[Available]
    total_available: int
    resource_available: bool | None
    next_check_in_seconds: int = NEXT_CHECK_SECONDS


async def run(yard: Yard, caller: Caller, given: Given) -> Found:
    found, total, crowd = await yard.read(caller, _available, given, now=clock.now())
    if not found:
        raise NoAvailableWork(
            "No task can start now.",
            hint="why(subject=TASK) tells what one waits for.",
            next_check_in_seconds=NEXT_CHECK_WITHOUT_WORK_SECONDS,
        )
    return Found(
        available_tasks=found,
        total_available=total,
        resource_available=await yard.operations.has_room(crowd) if given.resource_check else None,
    )


def _available(tx: Transaction, given: Given, *, now: str) -> tuple[list[Available], int, launches.Crowd]:
    most, least = tasks.URGENCY[given.priority_filter]
    states = ("ready",) if given.exclude_blocked else ("ready", "pending")
    rows = tasks.ready(tx, limit=given.max_parallel, most_urgent=most, least_urgent=least)
    if not given.exclude_blocked:
        rows += tasks.pending(tx, limit=given.max_parallel - len(rows), most_urgent=most, least_urgent=least)
    total = sum(tasks.count(tx, state, most_urgent=most, least_urgent=least) for state in states)
    return [_shown(tx, row) for row in rows], total, launches.crowd(tx, now)


def _shown(tx: Transaction, row: Row) -> Available:
    total, completed = tx.only(
        "SELECT count(*), coalesce(sum(dependency_status = 'completed'), 0) FROM specs_task_dependency "
        "WHERE dependent_task_id = ?",
        (row["task_id"],),
    )
    title = tx.value("SELECT title FROM specs_specification WHERE id = ?", (row["spec_id"],))
    return Available(
        **{key: row[key] for key in ("task_id", "spec_id", "status", "priority", "estimated_hours", "assigned_agent")},
        spec_title=title,
        dependencies=Dependencies(total=total, completed=completed, blocked=row["unmet_blockers"]),
        can_parallelize=row["status"] == "ready",
    )


COMMAND = Command(
    name="find-available-work",
    purpose="Find the tasks that could start now, the most urgent first.",
    parameters=Given,
    answer=Found,
    run=run,
    reads=("specs_task", "specs_task_dependency", "specs_specification", "agent_lifecycle", "queue_item"),
    rules=("CFR-014", "CFR-015"),
    errors=(NoAvailableWork,),
    criteria=(
        "Only tasks without open blockers that no agent has in hand.",
        "By priority, then by what must begin soonest for the plan to end soon, then by hours.",
        "Nothing is written.",
    ),
    related=("create-parallel-tasks", "coordinate-dependencies", "spawn-agent-session"),
    examples=(
        Example("Up to four tasks for four agents.", {"MAX_PARALLEL": "4"}),
        Example("One of those that are not urgent.", {"PRIORITY_FILTER": "low", "MAX_PARALLEL": "1"}),
    ),
)
