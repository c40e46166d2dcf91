"""``agents``: list the crew, look at its health, start, restart and kill agents, and read what they wrote."""

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import Field

from ..server import agents as domain
from ..server import clock, kinds, outputs, overview
from ..server.errors import InvalidInput, NotAuthorized
from ..server.sections import ONE_YEAR
from ..server.store import Row, Transaction
from . import agents_ends, agents_health
from .agents_results import Agent, AgentsResult, AgentsShown
from .shape import BUDGET, Call, Cursor, Limit, fitting, page, refuse_others, required, tool, yard_of

STATES = ("starting", "running", "completed", "failed", "killed", "timeout", "lost", "all")
TAKES = {
    "list": {"agent_type", "state", "limit", "cursor"},
    "health": {"agent_id", "agent_type", "limit", "cursor"},
    "spawn": {"agent_type", "task_id", "timeout_seconds"},
    "heartbeat": {"agent_id"},
    "restart": {"agent_id", "force", "grace_period_seconds"},
    "restart_failed": {"agent_type", "force"},
    "kill": {"agent_id", "force", "grace_period_seconds"},
    "kill_stalled": {"agent_type", "force", "grace_period_seconds"},
    "log": {"agent_id", "lines"},
}


async def agents(
    call: Call,
    action: Literal[
        "list", "health", "spawn", "heartbeat", "restart", "restart_failed", "kill", "kill_stalled", "log"
    ] = "list",
    agent_id: str = "",
    agent_type: str = "",
    state: Annotated[str, Field(description="list: a status, or all; default the live ones")] = "",
    task_id: str = "",
    timeout_seconds: Annotated[float | None, Field(gt=0, le=ONE_YEAR)] = None,
    force: Annotated[bool, Field(description="kill at once; restart: failed tasks too")] = False,
    grace_period_seconds: Annotated[float | None, Field(ge=0, le=600, description="default 10")] = None,
    lines: Annotated[int | None, Field(ge=1, le=1000, description="default 50")] = None,
    limit: Limit | None = None,
    cursor: Cursor = "",
) -> AgentsResult:
    given = {name: value for name, value in locals().items() if name not in ("call", "action")}
    refuse_others(action, TAKES, given)
    grace = 0.0 if force else grace_period_seconds
    match action:
        case "list":
            return await _list(call, agent_type, state, limit or 50, cursor)
        case "health":
            return await agents_health.health(call, agent_id, agent_type, limit or 50, cursor)
        case "spawn":
            return await _spawn(call, agent_type, task_id, timeout_seconds)
        case "heartbeat":
            return await _heartbeat(call, agent_id)
        case "restart":
            return await agents_ends.restart(call, agent_id, force, grace)
        case "restart_failed":
            return await agents_ends.restart_failed(call, agent_type, force)
        case "kill":
            return await agents_ends.kill(call, agent_id, grace)
        case "kill_stalled":
            return await agents_ends.kill_stalled(call, agent_type, grace)
        case "log":
            return await _log(call, agent_id, lines or 50)


async def own_agents(
    call: Call,
    action: Literal["heartbeat", "list"] = "heartbeat",
    agent_id: str = "",
    agent_type: str = "",
    state: str = "",
    limit: Limit | None = None,
    cursor: Cursor = "",
) -> AgentsShown:
    given = {name: value for name, value in locals().items() if name not in ("call", "action")}
    refuse_others(action, TAKES, given)
    if action == "list":
        return await _list(call, agent_type, state, limit or 50, cursor)
    return await _heartbeat(call, agent_id)


async def _list(call: Call, agent_type: str, state: str, limit: int, cursor: str) -> AgentsResult:
    if state and state not in STATES:
        raise InvalidInput(f"There is no state {state!r}.", hint=f"Give one of {', '.join(STATES)}.")
    store = yard_of(call).store
    look = store.read if state else store.glance  # those that live are few
    rows, total = await look(_listed, agent_type or None, state or None, cursor, limit + 1)
    views = [Agent(**vars(view)) for view in overview.agent_views(rows, now=clock.now())]
    shown, next_cursor = page(views, key=lambda agent: agent.agent_id, limit=limit)
    return AgentsResult(action="list", agents=shown, total=total, next_cursor=next_cursor)


def _listed(
    tx: Transaction, agent_type: str | None, state: str | None, after: str, limit: int
) -> tuple[list[Row], int]:
    rows = domain.listed(tx, agent_type=agent_type, state=state, after=after, limit=limit)
    return rows, domain.count(tx, agent_type=agent_type, state=state)


async def _spawn(call: Call, agent_type: str, task_id: str, timeout_seconds: float | None) -> AgentsResult:
    required("spawn", "task_id", task_id, hint="assign(action='find') lists the tasks that are ready.")
    yard = yard_of(call)
    if agent_type:
        yard.settings.agent(agent_type)
    caller = await yard.caller()
    done = await yard.operations.spawn(
        task_id, agent_type=agent_type or None, timeout_seconds=timeout_seconds, actor=caller.name
    )
    return AgentsResult(
        action="spawn",
        agent_id=done.agent_id,
        pid=done.pid,
        worktree_path=done.worktree_path,
        started_at=done.started_at,
    )


async def _heartbeat(call: Call, agent_id: str) -> AgentsResult:
    """An agent beats for itself alone; the lead may for any (R-110 forbids it to monitors, which never call this)."""
    yard = yard_of(call)
    caller = await yard.caller()
    if caller.is_lead:
        required("heartbeat", "agent_id", agent_id, hint="agents(action='list') shows the live agents.")
    elif agent_id and agent_id != caller.name:
        raise NotAuthorized(f"You are {caller.name}; you cannot beat for {agent_id}.", hint="Leave agent_id out.")
    now = clock.now()
    subject = agent_id or caller.name
    due = await yard.run(caller, domain.heartbeat, subject, now=now)
    return AgentsResult(action="heartbeat", agent_id=subject, last_heartbeat=now, next_heartbeat_due=due)


async def _log(call: Call, agent_id: str, lines: int) -> AgentsResult:
    required("log", "agent_id", agent_id, hint="agents(action='list', state='all') shows every agent.")
    row = await yard_of(call).store.read(domain.get, agent_id)
    # The beginning is left to the resource where it does not fit; JSON writes a control character as six.
    text = fitting(outputs.tail(row["run_dir"], kinds.named(row["kind"]), lines=lines, max_chars=BUDGET))
    return AgentsResult(action="log", agent_id=agent_id, text=text, uri=f"crewyard://agents/{agent_id}/log")


def lead_tool() -> Tool:
    return tool(
        agents,
        name="agents",
        description="List the crew's agents, check their health, spawn (start) one on a task, restart or kill (stop) "
        "them, read their log output.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False),
    )


def worker_tool() -> Tool:
    return tool(
        own_agents,
        name="agents",
        description="Send your own heartbeat (sign of life), or list the crew's agents.",
        hints=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
    )
