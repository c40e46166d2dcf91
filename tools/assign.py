"""``assign``: find tasks that can start, begin a dispatch that works them off, pause, resume or cancel it."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ..server import assigning, clock, launches, overview, tasks
from ..server.errors import InvalidInput
from ..server.store import Row, Transaction
from ..server.wording import cut
from ..server.yard import Yard
from .shape import BUDGET, Call, Limit, Result, page, tool, yard_of


class Assignment(BaseModel):
    task_id: str
    agent_type: str
    orchestrator_task_id: str


class Available(BaseModel):
    task_id: str
    title: str
    priority: int
    estimated_hours: float
    agent_type: str | None = None
    spec_id: str | None = None


class Blocked(BaseModel):
    task_id: str
    waits_for: list[str]


class Dispatch(BaseModel):
    dispatch_id: str
    status: str
    max_parallel: int
    tasks: int
    agents_at_work: int


class AssignResult(Result):
    dispatch_id: str | None = None
    tasks_assigned: int | None = None
    assignments: list[Assignment] | None = None
    blocked_tasks: int | None = None
    available_tasks: list[Available] | None = None
    total_available: int | None = None
    blocked: list[Blocked] | None = None
    resource_available: bool | None = None
    dispatches: list[Dispatch] | None = None


async def assign(
    call: Call,
    action: Literal["assign", "find", "pause", "resume", "cancel"] = "assign",
    task_ids: Annotated[list[str] | None, Field(description="default: all open tasks")] = None,
    priority_id: str = "",
    max_parallel: Annotated[int | None, Field(ge=1, le=1000, description="default from crewyard.toml (4)")] = None,
    agent_type: str = "",
    follow: Annotated[bool, Field(description="go on as tasks become free")] = True,
    force: Annotated[bool, Field(description="ignore open dependencies")] = False,
    priority_filter: Literal["all", "high", "medium", "low"] = "all",
    dispatch_id: Annotated[str, Field(description="pause, resume: default all")] = "",
    limit: Limit = 50,
) -> AssignResult:
    yard = yard_of(call)
    parallel = max_parallel or yard.settings.crew.max_parallel
    match action:
        case "assign":
            if task_ids == []:
                raise InvalidInput("task_ids is empty.", hint="Leave it out to assign every open task.")
            order = assigning.Order(task_ids or (), priority_id or None, parallel, agent_type or None, follow, force)
            return await _assign(yard, order)
        case "find":
            return await _find(yard, parallel, priority_filter, limit)
        case _:
            return await _change(yard, action, dispatch_id)


async def _assign(yard: Yard, order: assigning.Order) -> AssignResult:
    caller = await yard.caller()
    await yard.operations.require_fit(
        await yard.store.read(assigning.agent_types_of, order, yard.settings.default_agent)
    )
    begun = await yard.run(caller, assigning.begin, order, bounds=yard.bounds, now=clock.now(), actor=caller.name)
    given = [Assignment(**{key: row[key] for key in Assignment.model_fields}) for row in begun.assignments]
    shown, more = page(given, key=lambda each: each.task_id, limit=len(given) + 1)
    note = (
        None if begun.assignments else "Nothing could start at once; why(subject=dispatch_id) tells what it waits for."
    )
    return AssignResult(
        action="assign",
        status="success" if begun.assignments else "partial",
        dispatch_id=begun.dispatch["dispatch_id"],
        tasks_assigned=len(begun.assignments),
        assignments=shown,
        blocked_tasks=len(begun.blocked),
        note="assignments is cut; crewyard://graph shows every task." if more else note,
    )


async def _find(yard: Yard, parallel: int, priority_filter: str, limit: int) -> AssignResult:
    urgency = tasks.URGENCY[priority_filter]
    rows, total, blocked, waits, crowd = await yard.store.read(_available, urgency, parallel, limit, now=clock.now())
    found = [
        Available(**{**{key: row[key] for key in Available.model_fields}, "title": cut(row["title"], 120)})
        for row in rows
    ]
    shown, more = page(found, key=lambda each: each.task_id, limit=len(found) + 1, budget=BUDGET // 2)
    waiting, more_waiting = page(waits, key=lambda each: each.task_id, limit=limit, budget=BUDGET // 2)
    return AssignResult(
        action="find",
        available_tasks=shown,
        total_available=total,
        blocked_tasks=blocked,
        blocked=waiting,
        resource_available=await yard.operations.has_room(crowd),
        note="The lists are cut; crewyard://graph shows every task." if more or more_waiting else None,
    )


def _available(
    tx: Transaction, urgency: tuple[int, int], parallel: int, limit: int, *, now: str
) -> tuple[list[Row], int, int, list[Blocked], launches.Crowd]:
    high, low = urgency
    waits = [
        Blocked(task_id=row["task_id"], waits_for=[b["task_id"] for b in tasks.open_blockers(tx, row["task_id"])][:10])
        for row in tasks.pending(tx, limit=limit + 1, most_urgent=high, least_urgent=low)
    ]
    total, blocked = (tasks.count(tx, each, most_urgent=high, least_urgent=low) for each in ("ready", "pending"))
    ready = tasks.ready(tx, limit=parallel, most_urgent=high, least_urgent=low)
    return ready, total, blocked, waits, launches.crowd(tx, now)


async def _change(yard: Yard, action: str, dispatch_id: str) -> AssignResult:
    if action == "cancel" and not dispatch_id:
        raise InvalidInput("cancel needs a dispatch_id.", hint="crewyard://status lists the dispatches.")
    caller = await yard.caller()
    want = {"pause": "paused", "resume": "active", "cancel": "cancelled"}[action]
    views = await yard.run(caller, _changed, want, dispatch_id or None, now=clock.now(), actor=caller.name)
    shown, more = page(views, key=lambda each: each.dispatch_id, limit=len(views) + 1)
    note = None if views else f"There was no dispatch to {action}."
    return AssignResult(action=action, dispatches=shown, note="crewyard://status shows them all." if more else note)


def _changed(tx: Transaction, want: str, dispatch_id: str | None, *, now: str, actor: str) -> list[Dispatch]:
    rows = assigning.change(tx, want, dispatch_id, now=now, actor=actor)
    views = [overview.dispatch_view(tx, row) for row in rows]
    return [Dispatch(**{key: getattr(view, key) for key in Dispatch.model_fields}) for view in views]


def lead_tool() -> Tool:
    return tool(
        assign,
        name="assign",
        description="Run tasks in parallel: dispatch work to coding agents; find what can start; pause, resume or "
        "cancel a dispatch.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
    )
