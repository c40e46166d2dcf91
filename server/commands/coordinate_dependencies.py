"""``coordinate-dependencies``: settle a task by hand, look for circles, check the graph (R-092 to R-096)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import clock, coordination, graph, tasks
from ..errors import DependencyCycle, IllegalTransition, InvalidInput, TaskNotFound
from ..identity import Caller
from ..store import Transaction
from ..yard import Yard
from .base import Answer, Command, Example, Parameters, required

Action = Literal["update_status", "check_deadlocks", "validate_graph"]


class Given(Parameters):
    action: Annotated[Action, Field(description="what to do")] = "update_status"
    task_id: Annotated[str | None, Field(description="update_status: the task")] = None
    new_status: Annotated[
        str | None, Field(description="update_status: completed, cancelled, or ready or pending to open it again")
    ] = None


class Result(Answer):
    action: Action


class Updated(Result):
    task_id: str
    new_status: str
    dependencies_resolved: int
    dependent_tasks_unblocked: list[str]


class Circle(BaseModel):
    circular_chain: list[str]
    affected_tasks: list[str]


class Circles(Result):
    deadlocks_detected: int
    circular_dependencies: list[Circle]


class Checked(Result):
    total_tasks: int
    total_dependencies: int
    valid: bool
    issues: list[str]


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    if given.action == "check_deadlocks":
        return await yard.read(caller, _circles)
    if given.action == "validate_graph":
        return await yard.read(caller, _checked)
    task_id = required("coordinate-dependencies", given.action, "TASK_ID", given.task_id)
    status = required("coordinate-dependencies", given.action, "NEW_STATUS", given.new_status)
    done = await yard.run(caller, coordination.update_status, task_id, status, now=clock.now(), actor=caller.name)
    return Updated(
        action=given.action,
        task_id=task_id,
        new_status=(await yard.read(caller, tasks.get, task_id))["status"],
        dependencies_resolved=done.dependencies_resolved,
        dependent_tasks_unblocked=done.unblocked,
    )


def _circles(tx: Transaction) -> Circles:
    found = [Circle(**vars(each)) for each in coordination.circles(tx)]
    return Circles(action="check_deadlocks", deadlocks_detected=len(found), circular_dependencies=found)


def _checked(tx: Transaction) -> Checked:
    found = graph.snapshot(tx)
    issues = coordination.issues(tx, found)
    return Checked(
        action="validate_graph",
        total_tasks=len(found.tasks),
        total_dependencies=len(found.edges),
        valid=not issues,
        issues=issues,
    )


COMMAND = Command(
    name="coordinate-dependencies",
    purpose="Set a task's status by hand and free what waited for it, look for circles, check the graph.",
    parameters=Given,
    answer=Result,
    run=run,
    reads=("specs_task", "specs_task_dependency", "orchestrator_task", "agent_lifecycle", "error_events"),
    writes=("specs_task", "specs_task_dependency", "orchestrator_task", "agent_message", "event"),
    rules=("CFR-014", "CFR-015"),
    errors=(DependencyCycle, TaskNotFound, InvalidInput, IllegalTransition),
    criteria=(
        "A task is ready only when no hard dependency of it is open.",
        "Status, edges and the tasks that become free change in one transaction.",
        "Tasks in a circle are held until somebody takes one of its dependencies away.",
    ),
    related=("find-available-work", "create-parallel-tasks", "detect-deadlocks"),
    differs=(
        "The error is `dependency_cycle`; the documents call it `circular_dependency_detected`.",
        "The work of an agent is completed by its merge alone: a task in hand cannot be set by hand.",
    ),
    examples=(
        Example(
            "What waited for the design is free.",
            {"ACTION": "update_status", "TASK_ID": "design", "NEW_STATUS": "completed"},
        ),
        Example("No task waits for itself.", {"ACTION": "check_deadlocks"}),
        Example("The graph is sound.", {"ACTION": "validate_graph"}),
        Example("An unknown task.", {"ACTION": "update_status", "TASK_ID": "desing", "NEW_STATUS": "completed"}),
    ),
)
