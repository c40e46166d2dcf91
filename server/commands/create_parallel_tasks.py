"""``create-parallel-tasks``: reserve tasks for agents, all or none (R-086 to R-091)."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from .. import clock, launches, reservations
from ..errors import ValidationFailed
from ..identity import Caller
from ..yard import Yard
from .base import Answer, Command, Example, Listed, Parameters


def _named(value: Any) -> Any:
    return {"task_id": value} if isinstance(value, str) else value


class Task(BaseModel):
    """What each of TASKS names; its id alone is enough."""

    task_id: str
    spec_id: str | None = None
    priority: Any = None
    estimated_hours: Any = None


class Given(Parameters):
    tasks: Annotated[
        Listed[Annotated[Task, BeforeValidator(_named)]],
        Field(min_length=1, description="ids, or objects of task_id, spec_id, priority, estimated_hours"),
    ]
    max_parallel: Annotated[int, Field(ge=1, le=1000, description="the most tasks in hand, these included")] = 4


class Created(BaseModel):
    task_id: str
    status: str
    created_at: str
    orchestrator_id: str
    agent_type: str
    retry_count: int


class Result(Answer):
    created_tasks: list[Created]
    total_created: int
    resource_available: bool


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    rows = await yard.run(
        caller,
        reservations.reserve,
        [reservations.Wanted(**each.model_dump()) for each in given.tasks],
        max_parallel=given.max_parallel,
        default_agent=yard.settings.default_agent,
        instance_id=given.orchestrator_instance_id,
        now=clock.now(),
        actor=caller.name,
    )
    created = [
        Created(
            orchestrator_id=row["orchestrator_task_id"],
            **{key: row[key] for key in ("task_id", "status", "created_at", "agent_type", "retry_count")},
        )
        for row in rows
    ]
    room = await yard.operations.has_room(await yard.store.read(launches.crowd, clock.now()))
    return Result(created_tasks=created, total_created=len(created), resource_available=room)


COMMAND = Command(
    name="create-parallel-tasks",
    purpose="Reserve tasks that may run side by side for agents, all or none.",
    parameters=Given,
    answer=Result,
    run=run,
    reads=(
        "specs_task",
        "specs_task_dependency",
        "orchestrator_task",
        "dispatch",
        "merge_request",
        "agent_lifecycle",
        "queue_item",
    ),
    writes=("orchestrator_task", "specs_task", "event"),
    rules=("CFR-014", "CFR-015"),
    errors=(ValidationFailed,),
    criteria=(
        "Each task has one row in orchestrator_task and is `assigned`; or, where one is at fault, none has.",
        "No task beside one that it waits for, or whose files it shares.",
        "No agent starts before spawn-agent-session asks for it.",
    ),
    related=("find-available-work", "create-worktree", "spawn-agent-session"),
    differs=(
        "An id is any that is safe as a branch and a path, not `TASK-<digits>-<digits>` alone.",
        "A reserved task is `assigned`, which the documents call `spawned`.",
        "A task that a dispatch covers later is reserved no more: the dispatch works it off.",
    ),
    examples=(
        Example("Two tasks that wait for nothing.", {"TASKS": "parser,printer", "MAX_PARALLEL": "4"}),
        Example("All or none: the second one is at fault.", {"TASKS": "docs,release"}),
    ),
)
