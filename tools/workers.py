"""``workers``: who works in which workflow, how they are, and how many there are."""

import json
from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server import clock, restarting, worker_checks
from ..server.errors import ConfigurationError, InvalidInput
from ..server.wording import counted, cut
from ..server.worker_checks import WorkerCheck
from ..server.workflows import staffing, workforce
from ..server.workflows.capacity import Host
from ..server.workflows.pipeline import Pipeline
from ..server.workflows.scaling import Queue
from ..server.workflows.staffing import Change
from ..server.yard import Yard
from .shape import Call, page, refuse_others, required, tool, yard_of
from .workers_results import Changed, Crowd, Worker, WorkersResult

REASON_LENGTH = 300
TAKES = {
    "list": {"workflow"},
    "health": {"workflow", "worker_id"},
    "restart": {"worker_id"},
    "restart_failed": set[str](),
    "scale_up": {"workflow", "emergency"},
    "scale_down": {"workflow"},
}


async def workers(
    call: Call,
    action: Literal["list", "health", "restart", "restart_failed", "scale_up", "scale_down"] = "list",
    workflow: Annotated[str, Field(description="or all")] = "",
    worker_id: str = "",
    emergency: Annotated[bool, Field(description="scale_up: beyond the maximum, for a while")] = False,
) -> WorkersResult:
    refuse_others(action, TAKES, {"workflow": workflow, "worker_id": worker_id, "emergency": emergency})
    yard = yard_of(call)
    line, workflow = line_of(yard), "" if workflow == staffing.ALL else workflow
    if action in ("list", "health"):
        return await _shown(yard, line, action, workflow, "" if worker_id == staffing.ALL else worker_id)
    if action == "restart":
        required("restart", "worker_id", worker_id, hint="workers(action='list') shows them.")
        return await _restart(yard, line, worker_id)
    if action == "restart_failed":
        return await _restart_failed(yard, line)
    return await _scale(yard, line, action, workflow, emergency)


def line_of(yard: Yard) -> Pipeline:
    """Raises ConfigurationError where there are no workflows."""
    if yard.settings.workflows is None:
        raise ConfigurationError("There are no workflows.", hint="`crewyard init --workflows` writes document 003's.")
    return Pipeline(yard.settings.workflows)


async def _shown(yard: Yard, line: Pipeline, action: str, workflow: str, worker_id: str) -> WorkersResult:
    is_health, now = action == "health", clock.now()
    if is_health:
        checks, standing = await worker_checks.look(yard, line, workflow, worker_id)
    else:
        found = await yard.store.read(workforce.of, line, workflow, now=now)
        checks, standing = [WorkerCheck(each, "") for each in found], None
    shown, more = page([_view(each) for each in checks], key=lambda each: each.worker_id, limit=500, budget=7_000)
    crowds = None if is_health else await yard.store.read(workforce.crowds, line, workflow, now=now)
    return WorkersResult(
        action=action,
        health_status=standing,
        workers=shown,
        workflows=None if crowds is None else [_crowd(line, name, queue) for name, queue in crowds.items()][:20],
        note=f"{len(shown)} of {len(checks)} are shown; name a workflow." if more else None,
    )


async def _restart(yard: Yard, line: Pipeline, worker_id: str) -> WorkersResult:
    """Of a worker that is busy its agent is started anew; one that is offline is given work again."""
    caller, grace = await yard.caller(), yard.settings.crew.grace_period_seconds
    seen = await yard.store.read(workforce.of_one, line, worker_id, now=clock.now())
    name, status = seen.row["worker_id"], seen.row["status"]
    if status == "busy":
        if seen.agent is None:
            raise InvalidInput(
                f"Worker {name} waits for its agent to start; there is nothing to restart.",
                hint=f"why(subject='{name}') tells what it waits for.",
            )
        asked, then = await restarting.restart(yard, caller, seen.agent["agent_id"], force=False, grace_seconds=grace)
        said = f"{asked.agent_id} is followed by {then.new_agent['agent_id']}" if then.new_agent else then.hindrance
        waits = f"It is recorded; why(subject='{asked.task_id}') tells what it waits for."
        is_there = then.new_agent is not None
    else:
        row = await yard.run(caller, staffing.restart_offline, worker_id, now=clock.now(), actor=caller.name)
        is_there, waits = row["status"] == "idle", f"{name} works again as soon as its silent agent has ended."
        said = f"{name} is idle and gets work again." if is_there else waits
    checks, _ = await worker_checks.look(yard, line, worker_id=name)
    return WorkersResult(
        action="restart",
        status="success" if is_there else "partial",
        workers=[_view(each) for each in checks],
        message=cut(said or waits, REASON_LENGTH),
    )


async def _restart_failed(yard: Yard, line: Pipeline) -> WorkersResult:
    caller = await yard.caller()
    rows = await yard.run(caller, staffing.restart_failed, now=clock.now(), actor=caller.name)
    checks, standing = await worker_checks.look(yard, line)
    done = {row["worker_id"] for row in rows}
    shown, more = page(
        [_view(each) for each in checks if each.standing.row["worker_id"] in done],
        key=lambda each: each.worker_id,
        limit=500,
    )
    return WorkersResult(
        action="restart_failed",
        health_status=standing,
        workers=shown,
        message=f"{len(rows)} restarted." if rows else "No worker has failed.",
        note="workers is cut; workers(action='health') shows them." if more else None,
    )


async def _scale(yard: Yard, line: Pipeline, action: str, workflow: str, emergency: bool) -> WorkersResult:
    caller = await yard.caller()
    asked = {"now": clock.now(), "actor": caller.name}
    if action == "scale_down":
        done = await yard.run(caller, staffing.scale_down, line, workflow, **asked)
    else:
        unit = staffing.emergency if emergency else staffing.scale_up
        done = await yard.run(caller, unit, line, workflow, await _host(yard), **asked)
    count = sum(len(each.workers) for each in done)
    return WorkersResult(
        action=action,
        status="success" if count else "partial",
        changed=[_changed(each) for each in done][:50],
        message=f"{counted(count, 'worker')} {'left' if action == 'scale_down' else 'came'}.",
    )


async def _host(yard: Yard) -> Host:
    """A rate of launches passes by itself; it bounds no workers."""
    room = await yard.operations.room()
    refusals = tuple(each.message for each in room.refusals if each.reason != "launch_rate")
    return Host(refusals, yard.settings.instance_limits)


def _view(check: WorkerCheck) -> Worker:
    each = check.standing
    row, is_checked = each.row, bool(check.health)
    return Worker(
        worker_id=row["worker_id"],
        workflow=row["workflow"],
        status=row["status"],
        agent_type=row["agent_type"],
        origin=row["origin"],
        until=row["until"],
        specialities=_words(row["specialities"]),
        project_id=each.item["project_id"] if each.item else None,
        task_id=each.item["task_id"] if each.item else None,
        agent_id=each.agent["agent_id"] if each.agent else None,
        utilisation_percent=_rounded(each.utilisation),
        done=each.done,
        failed=each.failed,
        health=check.health or None,
        seconds_since_heartbeat=_rounded(check.silent_seconds),
        reasons=[cut(reason, REASON_LENGTH) for reason in check.reasons] if is_checked and check.reasons else None,
    )


def _words(text: str) -> list[str] | None:
    words: list[str] = json.loads(text)
    return [cut(word, 40) for word in words[:10]] or None


def _crowd(line: Pipeline, name: str, queue: Queue) -> Crowd:
    stage = line.stage(name)
    return Crowd(
        workflow=name,
        workers=queue.workers,
        busy=queue.workers - queue.idle - queue.offline,
        idle=queue.idle,
        offline=queue.offline,
        min_workers=stage.min_workers,
        max_workers=stage.max_workers,
        waiting=queue.waiting,
        utilisation_percent=_rounded(queue.utilisation),
    )


def _changed(change: Change) -> Changed:
    return Changed(workflow=change.workflow, workers=change.workers, why_not=cut(change.why_not, REASON_LENGTH) or None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def lead_tool() -> Tool:
    return tool(
        workers,
        name="workers",
        description="Workers of the workflows: list, health, restart, scale up or down.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )
