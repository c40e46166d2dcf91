"""``worktrees``: list and create them, merge their work, show the merge queue and what would conflict, clean up."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ..server import collisions, merges, overview
from ..server import worktrees as domain
from ..server.errors import InvalidInput
from ..server.resolutions import Strategy
from ..server.store import Transaction
from ..server.wording import cut
from ..server.yard import CleanupOutcome, MergeOutcome, Yard
from .shape import BUDGET, Call, Cursor, Limit, Result, first, page, tool, yard_of

FILES_SHOWN = 20


class Worktree(BaseModel):
    task_id: str
    worktree_path: str
    branch_name: str
    status: str
    base_branch: str


class Queued(BaseModel):
    merge_id: int
    task_id: str
    status: str
    position: int
    waits_for: str | None
    approved_by: str | None
    waits_until: str | None
    error: str | None


class Collision(BaseModel):
    task_a: str
    task_b: str
    files: list[str]


class Cleanable(BaseModel):
    task_id: str
    worktree_path: str
    ready: bool
    reason: str
    disk_space_mb: float


class WorktreesResult(Result):
    task_id: str | None = None
    worktree_path: str | None = None
    branch_name: str | None = None
    active_worktrees: list[Worktree] | None = None
    total: int | None = None
    merge_commit: str | None = None
    files_changed: int | None = None
    insertions: int | None = None
    deletions: int | None = None
    position: int | None = None
    merge_queue: list[Queued] | None = None
    next_to_merge: str | None = None
    conflicts: list[Collision] | None = None
    cleaned_up: int | None = None
    disk_space_freed_mb: float | None = None
    salvage_refs: list[str] | None = None
    candidates: list[Cleanable] | None = None


async def worktrees(
    call: Call,
    action: Literal["list", "create", "merge", "resolve", "cleanup", "queue", "conflicts"] = "list",
    task_id: str = "",
    base_branch: Annotated[str, Field(description="default: the integration branch")] = "",
    approve: bool = False,
    strategy: Annotated[
        Strategy,
        Field(description="ours: the integration branch's side"),
    ] = "agent",
    all: Annotated[bool, Field(description="cleanup: all merged ones")] = False,  # noqa: A002  (contract 3)
    force: Annotated[bool, Field(description="cleanup: unmerged work too, kept under a salvage ref")] = False,
    dry_run: bool = False,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> WorktreesResult:
    yard = yard_of(call)
    if action in ("create", "merge", "resolve") and not task_id:
        raise InvalidInput(f"{action} needs a task_id.", hint="plan(action='show') lists the tasks.")
    match action:
        case "list":
            return await _list(yard, limit, cursor)
        case "create":
            return await _create(yard, task_id, base_branch)
        case "merge":
            return await _merge(yard, task_id, approve)
        case "resolve":
            return await _resolve(yard, task_id, strategy)
        case "cleanup":
            return await _cleanup(yard, task_id, all, force, dry_run)
        case "queue":
            return await _queue(yard, limit, cursor)
        case "conflicts":
            return await _conflicts(yard, limit, cursor)


async def merge_approvals(
    call: Call,
    action: Literal["queue", "conflicts", "merge", "resolve"] = "queue",
    task_id: str = "",
    approve: bool = False,
    strategy: Annotated[Strategy, Field(description="ours: the integration branch's side")] = "agent",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> WorktreesResult:
    return await worktrees(
        call, action, task_id=task_id, approve=approve, strategy=strategy, limit=limit, cursor=cursor
    )


async def _list(yard: Yard, limit: int, cursor: str) -> WorktreesResult:
    rows = await yard.store.read(domain.listed)
    views = [(row.worktree_id, _view(row)) for row in rows]
    after = _number(cursor)
    rest = [view for view in views if view[0] > after]
    last = {view.task_id: number for number, view in rest}
    shown, more = page([view for _, view in rest], key=lambda view: str(last[view.task_id]), limit=limit)
    return WorktreesResult(action="list", active_worktrees=shown, total=len(views), next_cursor=more)


async def _create(yard: Yard, task_id: str, base_branch: str) -> WorktreesResult:
    caller = await yard.caller()
    made = await yard.operations.create_worktree(task_id, base_branch=base_branch or None, actor=caller.name)
    listed = await _list(yard, 20, "")
    return WorktreesResult(
        action="create",
        task_id=task_id,
        worktree_path=made.path,
        branch_name=made.branch,
        active_worktrees=listed.active_worktrees,
        total=listed.total,
        note=None if made.created else "It was there already.",
    )


async def _merge(yard: Yard, task_id: str, approve: bool) -> WorktreesResult:
    caller = await yard.caller()
    done = await yard.operations.merge(task_id, approved_by=caller.name if approve else None, actor=caller.name)
    return _merged("merge", task_id, done)


async def _resolve(yard: Yard, task_id: str, strategy: Strategy) -> WorktreesResult:
    caller = await yard.caller()
    done = await yard.operations.resolve(task_id, strategy=strategy, actor=caller.name)
    if strategy in ("ours", "theirs"):
        return _merged("resolve", task_id, done)
    note = "An agent tries again." if strategy == "agent" else "It waits for your review; branch and worktree stay."
    return WorktreesResult(action="resolve", task_id=task_id, note=note)


def _merged(action: str, task_id: str, done: MergeOutcome) -> WorktreesResult:
    if done.merge_commit is None:
        return WorktreesResult(
            action=action,
            status="partial",
            task_id=task_id,
            position=done.position,
            note=f"It waits in the queue; why(subject='{task_id}') tells for what.",
        )
    return WorktreesResult(
        action=action,
        task_id=task_id,
        merge_commit=done.merge_commit,
        files_changed=done.files_changed,
        insertions=done.insertions,
        deletions=done.deletions,
        note=f"Conflicts settled: {'; '.join(first(done.settled))}." if done.settled else None,
    )


async def _cleanup(yard: Yard, task_id: str, everything: bool, force: bool, dry_run: bool) -> WorktreesResult:
    if bool(task_id) == everything:
        raise InvalidInput("cleanup needs a task_id, or all=true.", hint="dry_run=true shows what it would remove.")
    caller = await yard.caller()
    done = await yard.operations.cleanup(task_id or None, force=force, dry_run=dry_run, actor=caller.name)
    candidates, more = page(_candidates(done), key=lambda each: each.task_id, limit=500, budget=BUDGET // 2)
    return WorktreesResult(
        action="cleanup",
        status="partial" if done.refused else "success",
        task_id=task_id or None,
        cleaned_up=len(done.cleaned_up),
        disk_space_freed_mb=round(done.disk_space_freed_mb, 2),
        salvage_refs=first(done.salvage_refs),
        candidates=candidates,
        note="candidates is cut; worktrees(action='list') shows them all." if more else None,
    )


async def _queue(yard: Yard, limit: int, cursor: str) -> WorktreesResult:
    views = await yard.store.read(_queued, auto_approve=yard.settings.merge.auto_approve)
    skip = _number(cursor)
    rest = [view for view in views if view.merge_id > skip]
    shown, more = page(rest, key=lambda view: str(view.merge_id), limit=limit)
    return WorktreesResult(
        action="queue",
        merge_queue=shown,
        total=len(views),
        next_to_merge=next((view.task_id for view in views if view.waits_for is None), None),
        next_cursor=more,
    )


async def _conflicts(yard: Yard, limit: int, cursor: str) -> WorktreesResult:
    views = [
        Collision(task_a=each.task_a, task_b=each.task_b, files=first(each.files, FILES_SHOWN))
        for each in await yard.store.read(collisions.standing)
    ]
    rest = [view for view in views if _pair(view) > cursor]
    shown, more = page(rest, key=_pair, limit=limit)
    return WorktreesResult(action="conflicts", conflicts=shown, total=len(views), next_cursor=more)


def _pair(view: Collision) -> str:
    return f"{view.task_a} {view.task_b}"  # no id holds a space, which sorts before all that one may hold


def _queued(tx: Transaction, *, auto_approve: bool) -> list[Queued]:
    return [
        Queued(
            merge_id=view.merge_id,
            task_id=view.task_id,
            status=view.status,
            position=view.position,
            waits_for=None if auto_approve or view.approved_by or view.status == "checking" else "approval",
            approved_by=view.approved_by,
            waits_until=view.waits_until,
            error=view.error and cut(view.error, 200),
        )
        for view in overview.merge_views(merges.queue(tx))
    ]


def _view(row: domain.Worktree) -> Worktree:
    return Worktree(
        task_id=row.task_id,
        worktree_path=row.path,
        branch_name=row.branch,
        status=row.status,
        base_branch=row.base_branch,
    )


def _candidates(done: CleanupOutcome) -> list[Cleanable]:
    return [Cleanable(**{key: getattr(each, key) for key in Cleanable.model_fields}) for each in done.candidates]


def _number(cursor: str) -> int:
    if cursor and not (cursor.isascii() and cursor.isdigit()):
        raise InvalidInput(f"{cursor[:40]!r} is no cursor.", hint="Give next_cursor of the page before.")
    return int(cursor or 0)


def lead_tool() -> Tool:
    return tool(
        worktrees,
        name="worktrees",
        description="List or create git worktrees of tasks, merge their branches, resolve conflicts, see the merge "
        "queue and coming conflicts, clean up.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )


def approver_tool() -> Tool:
    return tool(
        merge_approvals,
        name="worktrees",
        description="See the merge queue and which branches would conflict; merge a task's work with approve=true to "
        "approve it; resolve a conflict.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )
