"""``plan``: show, import, add to, update and export the plan of tasks and dependencies."""

import errno
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ..server import clock, coordination, plan_export, plans, readers, states
from ..server import tasks as domain
from ..server.errors import InvalidInput
from ..server.store import Row, Transaction
from ..server.wording import cut
from ..server.yard import Yard
from .shape import BUDGET, Call, Cursor, Limit, Result, first, page, text_of, tool, yard_of


class Task(BaseModel):
    task_id: str
    title: str
    status: str
    priority: int
    estimated_hours: float
    depends_on: list[str]
    agent_type: str | None = None
    assigned_agent: str | None = None
    error: str | None = None
    description: str | None = None
    files: list[str] | None = None


class PlanShown(Result):
    tasks: list[Task] | None = None
    total: int | None = None
    counts: dict[str, int] | None = None
    uri: str | None = None


class PlanResult(PlanShown):
    tasks_added: int | None = None
    tasks_updated: int | None = None
    tasks_unchanged: int | None = None
    dependencies_added: int | None = None
    warnings: list[str] | None = None
    dependencies_resolved: int | None = None
    dependent_tasks_unblocked: list[str] | None = None
    plan: dict[str, Any] | None = None


async def plan(
    call: Call,
    action: Literal["show", "import", "add", "update", "export"] = "show",
    path: Annotated[str, Field(description="import: a file")] = "",
    text: Annotated[str, Field(description="import: the plan itself")] = "",
    format: Annotated[  # noqa: A002  (contract 3)
        Literal["auto", "native", "json", "yaml", "markdown", "taskmaster", "beads"], Field()
    ] = "auto",
    tasks: Annotated[
        list[dict[str, Any]],
        Field(description="add: [{task_id, title, description, depends_on, priority, files, agent_type, check}]"),
    ] = [],  # noqa: B006  (never changed)
    task_id: str = "",
    new_status: Annotated[str, Field(description="update: completed, cancelled, ready; show: filter")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> PlanResult:
    yard = yard_of(call)
    match action:
        case "show":
            if path or text or tasks:
                raise InvalidInput(
                    "path, text and tasks are not for action='show'.", hint="Give action='import', or 'add' for tasks."
                )
            return await _show(yard, task_id, new_status, limit, cursor)
        case "import":
            return await _import(yard, path, text, format)
        case "add":
            return await _add(yard, tasks)
        case "update":
            return await _update(yard, task_id, new_status)
        case "export":
            return await _export(yard, limit, cursor)


async def shown_plan(
    call: Call,
    action: Literal["show"] = "show",  # noqa: ARG001  (so that other actions are told apart as not authorized)
    task_id: str = "",
    new_status: Annotated[str, Field(description="filter")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> PlanShown:
    return await _show(yard_of(call), task_id, new_status, limit, cursor)


async def _show(yard: Yard, task_id: str, status: str, limit: int, cursor: str) -> PlanResult:
    if status and status not in states.TASK.states:
        known = ", ".join(states.TASK.moves)
        raise InvalidInput(f"There is no status {status!r}.", hint=f"Give one of {known}.")
    if task_id:
        row, blockers = await yard.store.read(_one, task_id)
        return PlanResult(
            action="show", tasks=[_detail(row, blockers, yard.is_workers)], uri=f"crewyard://tasks/{task_id}"
        )
    rows, waits_for, counts = await yard.store.read(_page, cursor, limit + 1, status or None)
    views = [_view(row, waits_for.get(row["task_id"], [])) for row in rows]
    shown, next_cursor = page(views, key=lambda task: task.task_id, limit=limit)
    total = counts[status] if status else sum(counts.values())
    return PlanResult(action="show", tasks=shown, total=total, counts=counts, next_cursor=next_cursor)


def _one(tx: Transaction, task_id: str) -> tuple[Row, list[str]]:
    row = domain.get(tx, task_id)
    return row, _blockers(tx, [task_id]).get(task_id, [])


def _page(
    tx: Transaction, after: str, limit: int, status: str | None
) -> tuple[list[Row], dict[str, list[str]], dict[str, int]]:
    rows = domain.listed(tx, after=after, limit=limit, status=status)
    return rows, _blockers(tx, [row["task_id"] for row in rows]), domain.counts(tx)


def _blockers(tx: Transaction, task_ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in tx.all(
        "SELECT dependent_task_id, blocking_task_id FROM specs_task_dependency WHERE dependency_type = 'hard' "
        "AND dependent_task_id IN (SELECT value FROM json_each(?)) ORDER BY blocking_task_id",
        (text_of(task_ids),),
    ):
        found.setdefault(row[0], []).append(row[1])
    return found


def _view(row: Row, blockers: list[str]) -> Task:
    return Task(
        task_id=row["task_id"],
        title=cut(row["title"], 120),
        status=row["status"],
        priority=row["priority"],
        estimated_hours=row["estimated_hours"],
        depends_on=blockers[:20],
        agent_type=row["agent_type"],
        assigned_agent=row["assigned_agent"],
        error=row["error_code"],
    )


def _detail(row: Row, blockers: list[str], is_for_agent: bool) -> Task:
    """To the lead an error is told with its words, which may be the last line of an agent's log."""
    view = _view(row, blockers)
    has_words = row["error_code"] and not is_for_agent
    error = f"{row['error_code']}: {cut(row['error_message'] or '', 1_000)}" if has_words else row["error_code"]
    room = BUDGET // 2
    description = row["description"]
    while len(text_of(description)) > room:
        description = cut(description, len(description) * 7 // 8)
    return view.model_copy(
        update={"error": error, "description": description, "files": first(list(domain.files_of(row)))}
    )


async def _import(yard: Yard, path: str, text: str, format_: str) -> PlanResult:
    if bool(path) == bool(text):
        raise InvalidInput(
            "import needs a path or a text, and not both.", hint="plan(action='import', path='plan.json')"
        )
    content: str | bytes = text
    if path:
        content = await anyio.to_thread.run_sync(_read, yard.root, path)
    return await _store(yard, "import", content, name=path or "text", format_=format_)


def _read(root: Path, name: str) -> bytes:
    """The file's bytes; one more than a plan may have, so that the reader refuses a larger one."""
    try:
        path = root / Path(name).expanduser()
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise InvalidInput(f"{path} is no file.", hint="A pipe or a device is not read; give a file.")
        with path.open("rb") as file:
            return file.read(readers.MAX_BYTES + 1)
    except (ValueError, RuntimeError) as error:  # a NUL, a lone surrogate, the home of nobody
        raise InvalidInput(
            f"{name!r} names no file: {error}.", hint="Give a path from the repository's root."
        ) from error
    except OSError as error:
        what = {errno.ENOENT: "There is no file", errno.EISDIR: "This is a folder:"}.get(
            error.errno or 0, f"{error.strerror}:"
        )
        raise InvalidInput(
            f"{what} {path}.", hint="Give a path from the repository's root, or an absolute one."
        ) from error


async def _store(yard: Yard, action: str, content: str | bytes, *, name: str, format_: str) -> PlanResult:
    known = await yard.store.read(plans.known_ids)
    subtasks = yard.settings.plans.subtasks
    draft = await anyio.to_thread.run_sync(
        lambda: readers.read_plan(content, name=name, format=format_, subtasks=subtasks, known=known)
    )
    return await _write(yard, action, draft)


async def _add(yard: Yard, tasks: list[dict[str, Any]]) -> PlanResult:
    if not tasks:
        raise InvalidInput("add needs tasks.", hint="plan(action='add', tasks=[{'task_id': …, 'title': …}])")
    known = await yard.store.read(plans.known_ids)
    return await _write(yard, "add", readers.read_data({"tasks": tasks}, name="tasks", known=known))


async def _write(yard: Yard, action: str, draft: readers.PlanDraft) -> PlanResult:
    caller = await yard.caller()
    done = await yard.run(
        caller,
        plans.import_plan,
        draft,
        now=clock.now(),
        actor=caller.name,
        agent_types=yard.agent_types,
    )
    return PlanResult(
        action=action,
        tasks_added=len(done.tasks_added),
        tasks_updated=len(done.tasks_updated),
        tasks_unchanged=done.tasks_unchanged,
        dependencies_added=done.dependencies_added,
        warnings=first(done.warnings),
    )


async def _update(yard: Yard, task_id: str, new_status: str) -> PlanResult:
    if not task_id or not new_status:
        raise InvalidInput(
            "update needs task_id and new_status.",
            hint="new_status is completed, cancelled, ready or pending; add changes a task's other fields.",
        )
    caller = await yard.caller()
    done = await yard.run(caller, coordination.update_status, task_id, new_status, now=clock.now(), actor=caller.name)
    return PlanResult(
        action="update",
        tasks_updated=1,
        dependencies_resolved=done.dependencies_resolved,
        dependent_tasks_unblocked=first(done.unblocked),
    )


async def _export(yard: Yard, limit: int, cursor: str) -> PlanResult:
    """In the format that import reads: whole where it fits, otherwise its tasks page by page."""
    whole = await yard.store.read(plan_export.export_plan)
    if not cursor and len(text_of(whole)) <= BUDGET:
        return PlanResult(action="export", plan=whole, total=len(whole["tasks"]), uri="crewyard://plan")
    tasks = [task for task in whole["tasks"] if task["task_id"] > cursor]
    tasks.sort(key=lambda task: str(task["task_id"]))
    shown, next_cursor = page(tasks, key=lambda task: str(task["task_id"]), limit=limit)
    too_large = len(text_of(shown)) > BUDGET
    return PlanResult(
        action="export",
        plan={"tasks": [] if too_large else shown},
        total=len(whole["tasks"]),
        next_cursor=next_cursor,
        uri="crewyard://plan",
        note="These are some of the tasks; the whole plan, with its specs, is at crewyard://plan.",
    )


def lead_tool() -> Tool:
    return tool(
        plan,
        name="plan",
        description="Show tasks and their progress, import a plan (JSON, YAML, Markdown, Task Master, Beads), "
        "add tasks, set a task's status, export.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
    )


def worker_tool() -> Tool:
    return tool(
        shown_plan,
        name="plan",
        description="Show the plan's tasks and their state, or one task whole.",
        hints=ToolAnnotations(read_only_hint=True, idempotent_hint=True),
    )
