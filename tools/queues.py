"""``queues``: what waits in each workflow and for review; who gets it, and in which order."""

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ..server import clock
from ..server.errors import InvalidInput
from ..server.store import Row, Transaction
from ..server.wording import cut
from ..server.workflows import assignment, items, pipeline, reviews, triage
from ..server.workflows import projects as of_projects
from ..server.workflows import queues as domain
from ..server.workflows.pipeline import Pipeline
from ..server.yard import Yard
from .shape import BUDGET, Call, Cursor, Limit, Result, page, refuse_others, required, text_of, tool, yard_of

CURSOR = re.compile(r"[0-9]{1,9}")  # how many were shown
TAKES = {
    "status": {"workflow", "limit", "cursor"},
    "assign": {"workflow", "project_id", "worker_id"},
    "rebalance": {"workflow"},
    "priority": {"project_id", "level"},
    "triage": {"workflow", "level"},
    "review": {"project_id", "workflow", "exit", "why"},
}
NEEDS = {
    "assign": ("workflow", "project_id", "worker_id"),
    "priority": ("project_id", "level"),
    "review": ("project_id", "exit"),
}


class Place(BaseModel):
    project_id: str
    workflow: str
    status: str
    level: str
    title: str
    waited_seconds: float | None = None
    worker_id: str | None = None
    rework_count: int | None = None
    error: str | None = None


class QueuesResult(Result):
    queues: list[dict[str, Any]] | None = None
    items: list[Place] | None = None
    total: int | None = None
    changed: int | None = None


async def queues(
    call: Call,
    action: Literal["status", "assign", "rebalance", "priority", "triage", "review"] = "status",
    workflow: Annotated[str, Field(description="default all; status: or review; review: where to return")] = "",
    project_id: str = "",
    worker_id: str = "",
    level: Annotated[str, Field(description="urgent, high, normal, low")] = "",
    exit: Annotated[Literal["", "retry", "reject", "return"], Field(description="review: how it ends")] = "",  # noqa: A002
    why: str = "",
    limit: Limit | None = None,
    cursor: Cursor = "",
) -> QueuesResult:
    given = {name: value for name, value in locals().items() if name not in ("call", "action")}
    refuse_others(action, TAKES, given)
    for name in NEEDS.get(action, ()):
        required(action, name, given[name], hint=f"It takes {', '.join(sorted(TAKES[action]))}.")
    yard = yard_of(call)
    line = pipeline.of(yard.settings.workflows)
    match action:
        case "status":
            return await _status(yard, line, workflow, limit or 50, cursor)
        case "assign":
            return await _changed(yard, action, _assigned, line, workflow, project_id, worker_id)
        case "rebalance":
            return await _changed(yard, action, _rebalanced, line, workflow)
        case "priority":
            return await _changed(yard, action, _reprioritised, project_id, level)
        case "triage":
            return await _changed(yard, action, _triaged, line, level or "urgent", workflow)
        case _:
            return await _changed(yard, action, _judged, line, reviews.Verdict(project_id, exit, why.strip(), workflow))


async def _status(yard: Yard, line: Pipeline, workflow: str, limit: int, cursor: str) -> QueuesResult:
    """The queues, and what is in them: of all that waits and of the review queue, or of one whole."""
    if workflow and workflow != domain.REVIEW:
        line.stage(workflow)
    if cursor and not CURSOR.fullmatch(cursor):
        raise InvalidInput(f"{cursor!r} is no cursor.", hint="Give next_cursor of the page before.")
    offset = int(cursor or 0)
    queues, places, total = await yard.store.read(_standing, line, workflow, offset + limit + 1, now=clock.now())
    room = BUDGET - len(text_of(queues))
    shown, more = page(places[offset:], key=lambda each: each.project_id, limit=limit, budget=room)
    return QueuesResult(
        action="status",
        queues=queues,
        items=shown,
        total=total,
        next_cursor=str(offset + len(shown)) if more else None,
    )


def _standing(
    tx: Transaction, line: Pipeline, workflow: str, limit: int, *, now: str
) -> tuple[list[dict[str, Any]], list[Place], int]:
    one = "" if workflow == domain.REVIEW else workflow
    queues = [asdict(each) for each in domain.standing(tx, line, now=now, workflow=one)]
    shown = [{key: value for key, value in each.items() if value is not None} for each in queues]
    rows = domain.backlog(tx, workflow=workflow, limit=limit)
    return shown, [_place(row, now) for row in rows], domain.length(tx, workflow=workflow)


def _place(row: Row, now: str) -> Place:
    is_waiting = row["status"] in ("waiting", "held", "review")
    error = f"{row['error_code']}: {row['error_message']}" if row["status"] == "review" else None
    return Place(
        project_id=row["project_id"],
        workflow=row["workflow"],
        status=row["status"],
        level=of_projects.level_name(row["priority"]),
        title=cut(row["title"], 80),
        waited_seconds=round(items.waited_seconds(row, now), 1) if is_waiting else None,
        worker_id=row["wanted_worker"] if row["status"] == "waiting" else row["worker_id"],
        rework_count=row["rework_count"] or None,
        error=None if error is None else cut(error, 300),
    )


async def _changed(yard: Yard, action: str, unit: Any, *args: Any) -> QueuesResult:
    caller = await yard.caller()
    rows, changed, note = await yard.run(caller, unit, *args, now=clock.now(), actor=caller.name)
    shown, more = page(rows, key=lambda each: each.project_id, limit=len(rows) + 1)
    if more:
        note = f"{note} queues(action='status') shows the rest.".strip()
    return QueuesResult(action=action, items=shown, changed=changed, note=note or None)


Changed = tuple[list[Place], int, str]


def _assigned(
    tx: Transaction, line: Pipeline, workflow: str, project_id: str, worker_id: str, *, now: str, actor: str
) -> Changed:
    item = assignment.by_hand(tx, line, workflow, project_id, worker_id, now=now, actor=actor)
    begun = item["status"] == "working"
    note = f"{item['worker_id']} has it." if begun else f"It waits for {item['wanted_worker']}, which is busy."
    return [_of_item(tx, item, now)], 1, note


def _rebalanced(tx: Transaction, line: Pipeline, workflow: str, *, now: str, actor: str) -> Changed:
    done = assignment.rebalance(tx, line, workflow, now=now, actor=actor)
    rows = [_of_item(tx, items.get(tx, row["item_id"]), now) for row in done.freed]
    return rows, len(rows), f"{len(rows)} wait for no single worker any more; {done.given} were given to idle ones."


def _reprioritised(tx: Transaction, project_id: str, level: str, *, now: str, actor: str) -> Changed:
    of_projects.set_priority(tx, project_id, of_projects.level(level), now=now, actor=actor)
    rows = [_of_item(tx, row, now) for row in items.open_of(tx, project_id)]
    return rows, len(rows), ""


def _triaged(tx: Transaction, line: Pipeline, level: str, workflow: str, *, now: str, actor: str) -> Changed:
    done = triage.raise_urgent(tx, line, level, workflow=workflow, now=now, actor=actor)
    rows = [_of_item(tx, items.get(tx, row["item_id"]), now) for row in done.ahead]
    if not rows:
        return [], 0, f"Nothing that waits is {done.level}; queues(action='priority', project_id=…, level=…) raises it."
    return rows, done.stepped_back, f"{len(rows)} go first; {done.stepped_back} others stepped back."


def _judged(tx: Transaction, line: Pipeline, verdict: reviews.Verdict, *, now: str, actor: str) -> Changed:
    project = reviews.decide(tx, line, verdict, now=now, actor=actor)
    rows = [_of_item(tx, row, now) for row in items.open_of(tx, verdict.project_id)]
    return rows, 1, f"Project {verdict.project_id} is {project['status']}."


def _of_item(tx: Transaction, item: Row, now: str) -> Place:
    return _place(domain.one(tx, item["item_id"]), now)


def lead_tool() -> Tool:
    return tool(
        queues,
        name="queues",
        description="Queues of the workflows and of review: status, assign, rebalance, priority, triage, review.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True),
    )
